/*
 * Messages from the exit. Spec 04 sections 4, 7 and 12.
 *
 * Only what came on one of our own SURBs for this exit, in a frame of our stream, is looked at: nobody else can know
 * either. Data goes through the reorder hold to the stack; the rest is about the connection itself.
 */
#include "core/ipr/internal.h"
#include "core/ipr/ip.h"

#include <stdio.h>

void smx_downlink_packet(void *ctx, smx_ns now, smx_ns sent, const uint8_t *packet, size_t len)
{
    struct smx_ipr *ipr = ctx;
    if (ipr->state != SMX_IPR_UP || len < SMX_IPV4_HEADER || smx_alive_packet(ipr, now, packet, len))
        return;
    ipr->stats.packets_down++;
    ipr->stats.bytes_down += len;
    smx_level_delivered(ipr, sent);
    ipr->ops.packet(ipr->ctx, packet, len);
}

static void on_disconnect(struct smx_ipr *ipr)
{
    struct smx_fault fault;
    smx_fail(&fault, SMX_E_CLOSED, "the exit ended the connection");
    smx_ipr_become(ipr, SMX_IPR_LOST, &fault);
}

static void on_info(struct smx_ipr *ipr, const struct smx_ipr_response *response)
{
    char probed[sizeof("255.255.255.255:0")];
    const uint8_t *p = ipr->config.probe_ipv4;
    size_t n = (size_t)snprintf(probed, sizeof(probed), "%u.%u.%u.%u:0", p[0], p[1], p[2], p[3]);
    if (response->info != SMX_IPR_INFO_POLICY || !ipr->ops.refused)
        return;
    if (response->text_len != n || memcmp(response->text, probed, n) != 0) /* our own echoes are nobody's business */
        ipr->ops.refused(ipr->ctx, response->text, response->text_len);
}

static void on_response(struct smx_ipr *ipr, smx_ns now, uint32_t number, const struct smx_ipr_response *response,
                        const struct smx_inbound *message)
{
    switch (response->kind) {
    case SMX_IPR_RESP_DATA:
        smx_reorder_push(ipr->reorder, now, number, message->surb, response->bundle, response->bundle_len);
        break;
    case SMX_IPR_CONNECTED:
    case SMX_IPR_CONNECT_FAILED:
        smx_dial_answer(ipr, now, response);
        break;
    case SMX_IPR_DISCONNECTED:
    case SMX_IPR_DISCONNECT_FAILED:
    case SMX_IPR_UNREQUESTED_DISCONNECT:
        on_disconnect(ipr);
        break;
    case SMX_IPR_PONG:
        smx_alive_pong(ipr, now, response->request_id);
        break;
    case SMX_IPR_INFO:
        on_info(ipr, response);
        break;
    case SMX_IPR_HEALTH_INFO: /* never asked for */
        break;
    }
}

void smx_ipr_deliver(struct smx_ipr *ipr, smx_ns now, const struct smx_inbound *message)
{
    struct smx_lp_frame frame;
    struct smx_ipr_response response;
    if (message->kind != SMX_MSG_REPLY || (ipr->state != SMX_IPR_UP && ipr->state != SMX_IPR_CONNECTING))
        return;
    if (!message->from || !smx_recipient_equal(message->from, &ipr->exit))
        return;
    if (smx_lp_parse(&frame, message->data, message->len) || frame.stream_id != ipr->dial.stream_id ||
        frame.type != SMX_LP_DATA)
        return;
    if (smx_ipr_response_parse(&response, frame.payload, frame.len) || response.version < SMX_IPR_V9)
        return;
    bool data = response.kind == SMX_IPR_RESP_DATA;
    if (data && ipr->state != SMX_IPR_UP)
        return; /* of a connection whose addresses we were not told yet */
    smx_surbs_message(ipr, data ? frame.sequence : 0);
    smx_alive_received(ipr, data || response.kind == SMX_IPR_INFO);
    ipr->surbs.recheck = true;
    on_response(ipr, now, frame.sequence, &response, message);
}
