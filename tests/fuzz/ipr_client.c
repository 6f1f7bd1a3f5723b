/* The IPR client: any sequence of messages from the exit, packets of the stack, slots and time. Input: rows of (what,
 * u16 length, bytes). The mixnet client is replaced by one that keeps the ids a real exit would know. */
#include "core/ipr/internal.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct smx_recipient far_end = {.identity = "exit"};
static uint64_t surbs_sent, stream_id, request_id;

static void learn(const uint8_t *data, size_t len)
{
    struct smx_lp_frame frame;
    struct smx_ipr_request request;
    if (smx_lp_parse(&frame, data, len))
        abort();
    stream_id = frame.stream_id;
    if (frame.len && smx_ipr_request_parse(&request, frame.payload, frame.len))
        abort();
    if (frame.len && request.kind != SMX_IPR_REQ_DATA)
        request_id = request.request_id;
}

enum smx_err smx_client_send(struct smx_client *client, smx_ns now, enum smx_lane lane, const struct smx_recipient *to,
                             const uint8_t *data, size_t len, unsigned surbs, unsigned limit)
{
    (void)client, (void)now, (void)lane, (void)to, (void)limit;
    surbs_sent += surbs;
    learn(data, len);
    return SMX_OK;
}

enum smx_err smx_client_send_surbs(struct smx_client *client, smx_ns now, const struct smx_recipient *to,
                                   unsigned surbs)
{
    (void)client, (void)now, (void)to;
    surbs_sent += surbs;
    return SMX_OK;
}

void smx_client_forget(struct smx_client *client, const struct smx_recipient *peer)
{
    (void)client, (void)peer;
    surbs_sent = 0;
}

void smx_client_wake(struct smx_client *client, enum smx_lane lane)
{
    (void)client, (void)lane;
}

smx_ns smx_client_packet_delay(const struct smx_client *client)
{
    (void)client;
    return SMX_DEFAULT_PACKET_DELAY;
}

uint64_t smx_client_surbs_given(struct smx_client *client, const struct smx_recipient *to)
{
    (void)client;
    (void)to;
    return surbs_sent;
}

smx_ns smx_client_surb_delay(const struct smx_client *client, uint64_t surb)
{
    (void)client;
    return surb == SMX_SURB_UNKNOWN ? SMX_NEVER : (smx_ns)(surb % 64) * SMX_MS;
}

bool smx_client_poisson(const struct smx_client *client)
{
    (void)client;
    return false;
}

void smx_client_stats(const struct smx_client *client, struct smx_client_stats *stats)
{
    (void)client;
    *stats = (struct smx_client_stats){.surbs_sent = surbs_sent};
}

static void on_state(void *ctx, enum smx_ipr_state state, const struct smx_fault *why)
{
    (void)ctx;
    if ((state == SMX_IPR_UP) != !why)
        abort();
}

static void on_packet(void *ctx, const uint8_t *packet, size_t len)
{
    (void)ctx;
    if (len < 20 || packet[0] + packet[len - 1] > 510)
        abort();
}

static void deliver(struct smx_ipr *ipr, smx_ns now, const uint8_t *bytes, size_t len)
{
    uint64_t surb = len ? bytes[len - 1] : SMX_SURB_UNKNOWN;
    struct smx_inbound inbound = {.kind = SMX_MSG_REPLY, .from = &far_end, .surb = surb, .data = bytes, .len = len};
    smx_ipr_deliver(ipr, now, &inbound);
}

/* The bytes as an IPR response in a frame of the right stream; 0x01 to 0x08 in their place become the request id. */
static void deliver_framed(struct smx_ipr *ipr, smx_ns now, uint32_t number, const uint8_t *bytes, size_t len)
{
    static uint8_t frame[SMX_LP_HEADER + 65536];
    struct smx_writer w = smx_writer(frame, sizeof(frame));
    smx_lp_write(&w, stream_id, SMX_LP_DATA, number);
    smx_write(&w, bytes, len);
    if (len >= 12 && memcmp(bytes + 3, "\xfd\1\2\3\4\5\6\7\x08", 9) == 0)
        smx_put_be64(frame + SMX_LP_HEADER + 4, request_id);
    deliver(ipr, now, frame, w.len);
}

static void slot(struct smx_ipr *ipr, smx_ns now, enum smx_lane lane)
{
    uint8_t *data = malloc(1581);
    struct smx_pull pull = {.data = data, .cap = 1581, .surbs = 3};
    smx_ipr_pull(ipr, now, lane, &pull);
    if (pull.len + pull.surbs * (size_t)SMX_REPLY_SURB > pull.cap && pull.len)
        abort();
    if (pull.len)
        learn(data, pull.len);
    surbs_sent += pull.len ? pull.surbs : 0;
    free(data);
}

static void row(struct smx_ipr *ipr, smx_ns now, uint8_t what, uint8_t number, const uint8_t *bytes, size_t len)
{
    switch (what & 7) {
    case 0:
        deliver(ipr, now, bytes, len);
        break;
    case 1:
    case 2:
        deliver_framed(ipr, now, number, bytes, len);
        break;
    case 3:
        (void)smx_ipr_send(ipr, now, bytes, len, number & 1);
        break;
    case 4:
        slot(ipr, now, (enum smx_lane)(number % SMX_LANE_COUNT));
        break;
    case 5:
        smx_ipr_surbs_requested(ipr, now, &far_end, number);
        break;
    case 6:
        smx_ipr_connect(ipr, now, number, &far_end);
        break;
    default:
        smx_ipr_want_window(ipr, (size_t)number << 12);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct smx_ipr_ops ops = {.state = on_state, .packet = on_packet};
    static const uint8_t key[32];
    struct smx_random_seeded seeded;
    struct smx_ipr_config config;
    struct smx_reader r = smx_reader(data, size);
    smx_ns now = SMX_SEC;

    smx_random_seeded_init(&seeded, key);
    smx_ipr_config_default(&config);
    config.try_v10 = smx_read_u8(&r) & 1;
    surbs_sent = 0;
    struct smx_ipr *ipr = smx_ipr_new(&config, NULL, &seeded.random, &ops, NULL);
    smx_ipr_connect(ipr, now, 0, &far_end);
    while (!r.bad && r.left > 0) {
        uint8_t what = smx_read_u8(&r), number = smx_read_u8(&r);
        size_t len = smx_read_be16(&r);
        const uint8_t *bytes = smx_read(&r, len);
        now += (smx_ns)(what >> 3) * 10 * SMX_MS;
        if (smx_ipr_deadline(ipr) <= now)
            smx_ipr_run(ipr, now);
        if (bytes)
            row(ipr, now, what, number, bytes, len);
        if (smx_ipr_window(ipr) > (size_t)4096 * 1380 * 16)
            abort();
    }
    smx_ipr_free(ipr);
    return 0;
}
