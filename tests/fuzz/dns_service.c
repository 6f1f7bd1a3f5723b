/* What the engine's name server reads: questions of programs, answers that it cuts, resolv.conf; and names of flows. */
#include "stack/engine/dns_service.h"
#include "stack/control_name.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void cut(const uint8_t *data, size_t size)
{
    uint8_t *answer = malloc(size ? size : 1);
    if (!answer)
        return;
    memcpy(answer, data, size);
    if (smx_dns_truncate(answer, size) > size)
        abort();
    free(answer);
}

static void read_conf(const uint8_t *data, size_t size)
{
    struct smx_control_addr server[4];
    char *text = malloc(size + 1);
    if (!text)
        return;
    memcpy(text, data, size);
    text[size] = 0;
    if (smx_dns_read_servers(server, 4, text) > 4)
        abort();
    free(text);
}

/* What is read as a flow's name is spelled the same way. */
static void read_name(const uint8_t *data, size_t size)
{
    static const uint8_t id[SMX_SOCKET_ID_LEN] = {1, 2, 3};
    static const char head[] = "smolmix-0.d0102030000000000";
    char name[SMX_SOCKET_NAME_MAX], again[SMX_SOCKET_NAME_MAX];
    struct smx_control_addr place;
    size_t len = sizeof(head) - 1 + size;
    if (len > sizeof(name))
        return;
    memcpy(name, head, sizeof(head) - 1);
    memcpy(name + sizeof(head) - 1, data, size);
    if (!smx_flow_name_read(&place, "smolmix-0", id, name, len))
        return;
    for (size_t i = 0; i < len; i++) /* digits may be capital */
        name[i] = (char)(name[i] >= 'A' && name[i] <= 'F' ? name[i] + 'a' - 'A' : name[i]);
    if (smx_flow_name(again, "smolmix-0", id, &place) != len || memcmp(name, again, len) != 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (smx_dns_answer_max(data, size) < 512)
        abort();
    cut(data, size);
    read_conf(data, size);
    read_name(data, size);
    return 0;
}
