/* fake_engine NAME: serves until it is told to stop; prints "ready" when programs may connect. */
#include "stack/engine/engine.h"
#include "stack/log.h"

#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
    struct smx_engine_options options = {0};
    struct smx_fault fault = {0};

    if (argc != 2 || strlen(argv[1]) >= sizeof(options.name))
        return 2;
    strcpy(options.name, argv[1]);
    smx_log_open(2, SMX_LOG_INFO, false);
    struct smx_engine *engine = smx_engine_new(&options, &fault);
    if (!engine) {
        fprintf(stderr, "%s\n", fault.text);
        return 1;
    }
    puts("ready");
    fflush(stdout);
    smx_engine_run(engine);
    smx_engine_free(engine);
    return 0;
}
