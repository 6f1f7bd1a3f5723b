/*
 * Dialling the exit. Spec 04 sections 1, 8.1, 8.3 and traps 6, 7, 10, 13.
 *
 * Open (no content, but SURBs) and Connect leave back to back. Together they bring 13 SURBs, so that the exit can
 * answer at once (04 section 10). The order in which they arrive matters: an exit with a Connect and too few SURBs to
 * answer it asks for 50 twice, and waits. So the smaller share goes with Open, in a single packet that is rarely
 * overtaken by the three of the Connect; the reference's 10 and 2 are overtaken in every third start.
 *
 * Some exits that advertise version
 * 10 answer only 9, silently dropping the rest; so a version 10 Connect without an answer is followed by one of version
 * 9 on the same stream. Answers are matched by request id and version.
 *
 * Two Connects under way are a trap: an exit that processes both gives two address pairs and serves only the one it
 * processed last, which nobody here can know. Therefore:
 *
 *   - an answer to the version 10 Connect after the fallback was sent proves that the exit speaks 10: everything is
 *     dropped and one version 10 Connect is sent on a new stream, with a new sender tag, without a fallback;
 *   - an answer to the version 9 Connect is taken: the exit either does not speak 10, or got the other Connect first,
 *     seconds earlier. Should the other answer come as well, the connection is given up (LOST), because its
 *     addresses may be dead.
 *
 * A refusal counts at once, in whatever version. The whole takes SMX_IPR_CONNECT_TIMEOUT at most.
 */
#include "core/ipr/internal.h"

#define REASON_MAX 120

static struct smx_utc wall_clock(const struct smx_ipr_dial *dial, smx_ns now)
{
    struct smx_utc utc;
    smx_ns since = now - dial->epoch;
    smx_utc_from_unix(&utc, dial->wall + since / SMX_SEC, (uint32_t)(since % SMX_SEC));
    return utc;
}

size_t smx_dial_request(struct smx_ipr *ipr, smx_ns now, uint8_t *out, size_t cap, uint8_t version,
                        enum smx_ipr_request_kind kind, uint64_t id)
{
    struct smx_ipr_request request = {
        .version = version, .kind = kind, .request_id = id, .timestamp = wall_clock(&ipr->dial, now)};
    struct smx_writer w = smx_writer(out, cap);
    smx_lp_write(&w, ipr->dial.stream_id, SMX_LP_DATA, ipr->dial.sequence);
    smx_ipr_request_write(&w, &request);
    if (w.bad)
        return 0;
    ipr->dial.sequence++;
    return w.len;
}

static enum smx_err send_open(struct smx_ipr *ipr, smx_ns now)
{
    uint8_t frame[SMX_LP_HEADER];
    unsigned surbs = ipr->config.mimic_surbs ? SMX_IPR_MIMIC_OPEN : SMX_IPR_OPEN_SURBS;
    struct smx_writer w = smx_writer(frame, sizeof(frame));
    smx_lp_write(&w, ipr->dial.stream_id, SMX_LP_OPEN, 0);
    return smx_client_send(ipr->client, now, SMX_LANE_CONTROL, &ipr->exit, frame, sizeof(frame), surbs, UINT32_MAX);
}

static enum smx_err send_connect(struct smx_ipr *ipr, smx_ns now, uint8_t version)
{
    uint8_t frame[64];
    struct smx_ipr_attempt attempt = {.id = smx_random_u64(ipr->random), .version = version};
    unsigned surbs = ipr->config.mimic_surbs ? ipr->config.mimic_surbs : SMX_IPR_CONNECT_SURBS;
    size_t len = smx_dial_request(ipr, now, frame, sizeof(frame), version, SMX_IPR_CONNECT, attempt.id);
    ipr->dial.attempt[ipr->dial.attempts++] = attempt;
    return smx_client_send(ipr->client, now, SMX_LANE_CONTROL, &ipr->exit, frame, len, surbs, UINT32_MAX);
}

/* Open and Connect with a new stream and sender tag. */
static enum smx_err dial(struct smx_ipr *ipr, smx_ns now, uint8_t version, bool fallback)
{
    struct smx_ipr_dial *d = &ipr->dial;
    smx_client_forget(ipr->client, &ipr->exit);
    smx_surbs_start(ipr);
    d->stream_id = smx_random_u64(ipr->random);
    d->sequence = 0;
    d->attempts = 0;
    d->fallback_at = fallback ? now + SMX_IPR_V10_HEADSTART : SMX_NEVER;
    enum smx_err err = send_open(ipr, now);
    return err ? err : send_connect(ipr, now, version);
}

enum smx_err smx_dial_start(struct smx_ipr *ipr, smx_ns now, int64_t wall)
{
    ipr->dial.wall = wall;
    ipr->dial.epoch = now;
    ipr->dial.give_up_at = now + SMX_IPR_CONNECT_TIMEOUT;
    return dial(ipr, now, ipr->config.try_v10 ? SMX_IPR_V10 : SMX_IPR_V9, ipr->config.try_v10);
}

static void lost(struct smx_ipr *ipr, enum smx_err code, const char *text)
{
    struct smx_fault fault;
    smx_fail(&fault, code, "%s", text);
    smx_ipr_become(ipr, SMX_IPR_LOST, &fault);
}

/* --- answers ------------------------------------------------------------------------------------------------------ */

static void denied(struct smx_ipr *ipr, const struct smx_ipr_response *response)
{
    static const char *const reasons[] = {"it says we are connected already", "it has no free address"};
    char text[REASON_MAX + 1] = "";
    struct smx_fault fault;
    /* The exit's own words end up on a terminal: nothing but printable characters. */
    for (size_t i = 0; i < response->text_len && i < REASON_MAX; i++)
        text[i] = response->text[i] >= ' ' && response->text[i] <= '~' ? response->text[i] : '?';
    smx_fail(&fault, SMX_E_EXIT_DENIED, "the exit refused to connect: %s",
             response->reason < sizeof(reasons) / sizeof(*reasons) ? reasons[response->reason] : text);
    smx_ipr_become(ipr, SMX_IPR_DENIED, &fault);
}

static uint16_t usable_mtu(const struct smx_ipr_response *response)
{
    if (response->version < SMX_IPR_V10)
        return SMX_IPR_MTU_V9;
    if (response->mtu < SMX_IPR_MTU_MIN)
        return SMX_IPR_MTU_MIN;
    return response->mtu < SMX_IPR_MTU_MAX ? response->mtu : SMX_IPR_MTU_MAX;
}

static void connected(struct smx_ipr *ipr, smx_ns now, const struct smx_ipr_response *response)
{
    static const uint8_t none[4];
    if (memcmp(response->ipv4, none, sizeof(none)) == 0) {
        lost(ipr, SMX_E_PROTOCOL, "the exit gave us no usable address");
        return;
    }
    memcpy(ipr->addresses.ipv4, response->ipv4, sizeof(ipr->addresses.ipv4));
    memcpy(ipr->addresses.ipv6, response->ipv6, sizeof(ipr->addresses.ipv6));
    ipr->addresses.version = response->version;
    ipr->addresses.mtu = usable_mtu(response);
    smx_reorder_restart(ipr->reorder);
    smx_alive_start(ipr, now);
    smx_ipr_become(ipr, SMX_IPR_UP, NULL);
}

/* Which attempt this answers; attempts: none. */
static unsigned answered(const struct smx_ipr_dial *d, const struct smx_ipr_response *response)
{
    unsigned i = 0;
    while (i < d->attempts && (d->attempt[i].id != response->request_id || d->attempt[i].version != response->version))
        i++;
    return i;
}

void smx_dial_answer(struct smx_ipr *ipr, smx_ns now, const struct smx_ipr_response *response)
{
    struct smx_ipr_dial *d = &ipr->dial;
    unsigned which = answered(d, response);
    if (which == d->attempts)
        return;
    if (ipr->state == SMX_IPR_UP) {
        if (response->version != ipr->addresses.version)
            lost(ipr, SMX_E_PROTOCOL, "the exit connected us twice, so the addresses it gave may not be ours");
        return;
    }
    if (ipr->state != SMX_IPR_CONNECTING)
        return;
    if (response->kind == SMX_IPR_CONNECT_FAILED) {
        denied(ipr, response);
    } else if (which == 0 && d->attempts == 2) {
        if (dial(ipr, now, SMX_IPR_V10, false))
            lost(ipr, SMX_E_FULL, "the request to the exit could not be sent again");
    } else {
        connected(ipr, now, response);
    }
}

/* --- time --------------------------------------------------------------------------------------------------------- */

smx_ns smx_dial_deadline(const struct smx_ipr *ipr)
{
    return smx_ns_min(ipr->dial.fallback_at, ipr->dial.give_up_at);
}

void smx_dial_run(struct smx_ipr *ipr, smx_ns now)
{
    struct smx_ipr_dial *d = &ipr->dial;
    if (now >= d->give_up_at) {
        lost(ipr, SMX_E_TIMEOUT, "the exit did not answer");
    } else if (now >= d->fallback_at) {
        d->fallback_at = SMX_NEVER;
        (void)send_connect(ipr, now, SMX_IPR_V9); /* when it cannot be sent, time runs out */
    }
}
