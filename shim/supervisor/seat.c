/* What serve.c is in the preloaded library: here mixify has decided which engine serves, and everything is guarded. */
#include "shim/supervisor/seat.h"

#include <string.h>

__thread bool smx_engine_thread __attribute__((tls_model("initial-exec")));

static char name[SMX_CONTROL_NAME_MAX];
static const struct smx_config *config;

void smx_seat_take(const char engine[static SMX_CONTROL_NAME_MAX], const struct smx_config *own)
{
    memcpy(name, engine, sizeof(name));
    config = own;
}

void smx_serve_name(char out[static SMX_CONTROL_NAME_MAX])
{
    memcpy(out, name, sizeof(name));
}

int smx_serve(char out[static SMX_CONTROL_NAME_MAX])
{
    smx_serve_name(out);
    return 0;
}

const struct smx_config *smx_serve_config(void)
{
    return config;
}

bool smx_guarded(void)
{
    return true;
}

/* Who waits is the caller, not the thread that answers it. */
bool smx_may_wait(void)
{
    return false;
}
