/* The exit: any sequence of messages from clients and packets from outside. Input: rows of (what, u16 length, bytes).
 */
#include "core/ipr/exit.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void reply(void *ctx, const uint8_t tag[static SMX_SENDER_TAG], const uint8_t *data, size_t len, unsigned max)
{
    struct smx_ipr_response response;
    struct smx_lp_frame frame = {.payload = data, .len = len};
    (void)ctx;
    (void)max;
    smx_lp_parse(&frame, data, len);
    if (smx_ipr_response_parse(&response, frame.payload, frame.len) || tag[0] > 3)
        abort();
}

static bool packet_out(void *ctx, const uint8_t *packet, size_t len)
{
    (void)ctx;
    return packet[len - 1] & 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct smx_ipr_exit_ops ops = {.reply = reply, .packet = packet_out};
    struct smx_ipr_exit_config config;
    struct smx_random_seeded seeded;
    static const uint8_t key[32];
    smx_random_seeded_init(&seeded, key);
    smx_ipr_exit_config_default(&config);
    struct smx_ipr_exit *exit = smx_ipr_exit_new(&config, &seeded.random, &ops, NULL);
    struct smx_reader r = smx_reader(data, size);
    smx_ns now = 0;
    while (!r.bad && r.left > 0) {
        uint8_t what = smx_read_u8(&r), tag[SMX_SENDER_TAG] = {(uint8_t)(what & 3)};
        size_t len = smx_read_be16(&r);
        const uint8_t *bytes = smx_read(&r, len);
        now += (smx_ns)(what >> 3) * 100 * SMX_MS;
        if (smx_ipr_exit_deadline(exit) <= now)
            smx_ipr_exit_run(exit, now);
        if (bytes && (what & 4))
            smx_ipr_exit_packet(exit, now, bytes, len);
        else if (bytes)
            smx_ipr_exit_deliver(exit, now, tag, bytes, len);
    }
    smx_ipr_exit_free(exit);
    return 0;
}
