/* Option values: one line "NAME=value" per option, as in the environment. */
#include "stack/config.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char prefix[] = "SMOLMIX_";
    char *text = malloc(sizeof(prefix) + size);
    memcpy(text, prefix, sizeof(prefix) - 1);
    memcpy(text + sizeof(prefix) - 1, data, size);
    text[sizeof(prefix) - 1 + size] = 0;
    struct smx_config config;
    struct smx_fault fault;
    smx_config_default(&config);
    smx_config_environment(&config, (char *[]){text, NULL}, &fault);
    free(text);
    return 0;
}
