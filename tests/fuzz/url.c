/* Directory URLs. */
#include "stack/net/http.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = strndup((const char *)data, size);
    struct smx_url url;
    if (!smx_url_wrong(&url, text) && (!*url.host || !url.port || (*url.path && *url.path != '/')))
        abort();
    free(text);
    return 0;
}
