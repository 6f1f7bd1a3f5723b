/*
 * Keeping the connection alive and noticing when it is not. Spec 04 sections 8.3 and 11, traps 8 and 18; idea I16 of 07
 * section 8.
 *
 * The exit forgets a client that sends no data for a minute, and all clients when it starts anew, without a word;
 * everything then vanishes. So when nothing was sent for SMX_IPR_KEEPALIVE, an ICMP echo goes to a public address. Its
 * answer shows that exit and addresses are fine and how long the round trip takes. The same probe goes when the program
 * has waited for SMX_IPR_SILENCE, and once soon after the start, to learn whether echoes work here at all.
 *
 * The program waits when it has sent something and no data came back. Acks ask for nothing, so a download is told by
 * what comes: who has no more to say for now sets PSH on his last segment (RFC 9293 section 3.9.1.2), so after one
 * without it more must follow. Linux sets it on the last of every burst, too; so a packet as long as the longest counts
 * as well, for an answer rarely ends just there. When it does, one probe goes earlier than it had to.
 *
 * Unanswered probes are repeated every SMX_IPR_PROBE_TIMEOUT, now together with an IPR ping, which the exit answers
 * itself, to anybody. After SMX_IPR_PROBES_LOST in a row the connection is lost.
 *
 * Where echoes have never been answered - the probed address may be out of reach - the pong counts instead. It proves
 * only that the exit runs, not that it knows us, so it counts no longer when the program has waited for the configured
 * patience. That can be wrong, too: perhaps the program talks to nobody but the dead, or waits for nothing. Then the
 * connection is given up in vain, and the owner has more patience with the next one.
 *
 * The wait begins when a probe leaves, not when it is due: a gateway that takes nothing is not the exit's fault.
 */
#include "core/ipr/internal.h"
#include "core/ipr/ip.h"

#define ECHO_LEN     (SMX_IPV4_HEADER + SMX_ICMP_HEADER)
#define ECHO_REQUEST 8
#define ECHO_REPLY   0

void smx_alive_start(struct smx_ipr *ipr, smx_ns now)
{
    ipr->alive = (struct smx_ipr_alive){
        .started = now,
        .last_up = now,
        .unanswered = SMX_NEVER,
        .waiting = SMX_NEVER,
        .answer_by = SMX_NEVER,
        .longest = SMX_IPR_FULL_PACKET,
        .ident = (uint16_t)smx_random_u64(ipr->random),
    };
    ipr->stats.rtt = 0;
}

static void sent(struct smx_ipr_alive *a, smx_ns now)
{
    a->last_up = now;
    if (a->unanswered == SMX_NEVER)
        a->unanswered = now;
}

void smx_alive_sent(struct smx_ipr *ipr, smx_ns now, bool expects_answer)
{
    struct smx_ipr_alive *a = &ipr->alive;
    a->last_up = now;
    if (!expects_answer)
        return;
    sent(a, now);
    if (a->waiting == SMX_NEVER)
        a->waiting = now;
}

static void answered(struct smx_ipr_alive *a)
{
    a->missed = 0;
    a->answer_by = SMX_NEVER;
}

void smx_alive_received(struct smx_ipr *ipr, bool data)
{
    struct smx_ipr_alive *a = &ipr->alive;
    a->unanswered = SMX_NEVER;
    if (!data)
        return;
    a->waiting = SMX_NEVER;
    answered(a);
}

/* The program has waited for too long. */
static bool out_of_patience(const struct smx_ipr *ipr, smx_ns now)
{
    smx_ns since = ipr->alive.waiting;
    return since != SMX_NEVER && now - since >= ipr->config.patience;
}

void smx_alive_pong(struct smx_ipr *ipr, smx_ns now, uint64_t id)
{
    struct smx_ipr_alive *a = &ipr->alive;
    if (id != a->ping_id || a->ping_sent == 0)
        return;
    a->pong_works = true;
    if (a->echo_works || out_of_patience(ipr, now))
        return;
    ipr->stats.rtt = now - a->ping_sent;
    answered(a);
}

/* --- probes ------------------------------------------------------------------------------------------------------- */

static void write_echo(const struct smx_ipr *ipr, uint8_t p[static ECHO_LEN])
{
    memset(p, 0, ECHO_LEN);
    p[0] = 0x45;
    smx_put_be16(p + 2, ECHO_LEN);
    p[6] = 0x40; /* don't fragment */
    p[8] = 64;
    p[9] = SMX_PROTO_ICMP;
    memcpy(p + 12, ipr->addresses.ipv4, 4);
    memcpy(p + 16, ipr->config.probe_ipv4, 4);
    smx_put_be16(p + 10, smx_ip_checksum(p, SMX_IPV4_HEADER));

    uint8_t *icmp = p + SMX_IPV4_HEADER;
    icmp[0] = ECHO_REQUEST;
    smx_put_be16(icmp + 4, ipr->alive.ident);
    smx_put_be16(icmp + 6, ipr->alive.sequence);
    smx_put_be16(icmp + 2, smx_ip_checksum(icmp, SMX_ICMP_HEADER));
}

static bool is_echo_reply(struct smx_ipr *ipr, smx_ns now, const struct smx_ip_view *view)
{
    struct smx_ipr_alive *a = &ipr->alive;
    if (a->echo_sent == 0 || view->version != 4 || view->protocol != SMX_PROTO_ICMP || view->payload[0] != ECHO_REPLY)
        return false;
    if (memcmp(view->src, ipr->config.probe_ipv4, 4) != 0 || smx_be16(view->payload + 4) != a->ident)
        return false;
    a->echo_works = true;
    if (smx_be16(view->payload + 6) == a->sequence)
        ipr->stats.rtt = now - a->echo_sent;
    return true;
}

static bool more_follows(struct smx_ipr_alive *a, const struct smx_ip_view *view, size_t len)
{
    struct smx_tcp_view tcp;
    if (view->protocol != SMX_PROTO_TCP)
        return false;
    smx_tcp_parse(&tcp, view);
    if (tcp.data_len == 0 || (tcp.flags & (SMX_TCP_FIN | SMX_TCP_RST)))
        return false;
    if (len > a->longest)
        a->longest = len;
    return len == a->longest || !(tcp.flags & SMX_TCP_PSH);
}

bool smx_alive_packet(struct smx_ipr *ipr, smx_ns now, const uint8_t *packet, size_t len)
{
    struct smx_ip_view view;
    if (smx_ip_parse(&view, packet, len))
        return false;
    if (more_follows(&ipr->alive, &view, len))
        ipr->alive.waiting = now;
    return is_echo_reply(ipr, now, &view);
}

static size_t pull_echo(struct smx_ipr *ipr, smx_ns now, struct smx_pull *pull)
{
    struct smx_ipr_alive *a = &ipr->alive;
    uint8_t echo[ECHO_LEN];
    a->sequence++;
    a->echo_due = false;
    a->echo_sent = now;
    a->answer_by = now + SMX_IPR_PROBE_TIMEOUT;
    write_echo(ipr, echo);
    sent(a, now);
    return smx_uplink_frame(ipr, pull->data, pull->cap, echo, sizeof(echo));
}

static size_t pull_ping(struct smx_ipr *ipr, smx_ns now, struct smx_pull *pull)
{
    struct smx_ipr_alive *a = &ipr->alive;
    a->ping_due = false;
    a->ping_sent = now;
    a->ping_id = smx_random_u64(ipr->random);
    return smx_dial_request(ipr, now, pull->data, pull->cap, SMX_IPR_V9, SMX_IPR_PING, a->ping_id);
}

void smx_alive_pull(struct smx_ipr *ipr, smx_ns now, struct smx_pull *pull)
{
    unsigned surbs = smx_surbs_wanted(ipr, now);
    if (ipr->alive.echo_due)
        pull->len = pull_echo(ipr, now, pull);
    else if (ipr->alive.ping_due)
        pull->len = pull_ping(ipr, now, pull);
    pull->surbs = surbs < pull->surbs ? surbs : pull->surbs;
    pull->to = ipr->exit;
    pull->max_retransmissions = SMX_IPR_RETRANSMIT_ACKS;
}

static void probe(struct smx_ipr *ipr)
{
    struct smx_ipr_alive *a = &ipr->alive;
    a->echo_due = true;
    a->ping_due = a->missed > 0 || (a->pong_works && !a->echo_works);
    smx_client_wake(ipr->client, SMX_LANE_CONTROL);
}

/* --- time --------------------------------------------------------------------------------------------------------- */

smx_ns smx_alive_deadline(const struct smx_ipr *ipr)
{
    const struct smx_ipr_alive *a = &ipr->alive;
    if (a->answer_by != SMX_NEVER)
        return a->answer_by;
    if (a->echo_due)
        return SMX_NEVER; /* when it has left */
    if (!a->echo_sent)
        return a->started + SMX_IPR_FIRST_PROBE;
    if (a->waiting == SMX_NEVER)
        return a->last_up + SMX_IPR_KEEPALIVE;
    smx_ns asked = a->waiting > a->echo_sent ? a->waiting : a->echo_sent;
    return smx_ns_min(a->last_up + SMX_IPR_KEEPALIVE, asked + SMX_IPR_SILENCE);
}

void smx_alive_run(struct smx_ipr *ipr, smx_ns now)
{
    struct smx_ipr_alive *a = &ipr->alive;
    if (smx_alive_deadline(ipr) > now)
        return;
    if (a->answer_by != SMX_NEVER) {
        a->answer_by = SMX_NEVER;
        a->missed++;
    }
    if (a->missed >= SMX_IPR_PROBES_LOST) {
        struct smx_fault fault;
        smx_fail(&fault, SMX_E_TIMEOUT, "the exit does not answer any more");
        smx_ipr_become(ipr, SMX_IPR_LOST, &fault);
        return;
    }
    probe(ipr);
}
