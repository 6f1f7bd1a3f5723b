/*
 * The router looks at each packet's destination (addresses.h) and at port 53.
 *
 * The exit's services over TCP, the page and the resolver, are ordinary listeners on the loopback. A client's packets
 * to http://hello.lab/ or to port 53 of any address get such a listener for a destination on their way out, and their
 * old destination for a source on the way back; router_flow remembers which. Questions in datagrams need no such
 * detour: they are taken out of the packet here.
 *
 * Echoes to public resolvers are answered here as well: they are what clients probe their tunnel with (spec 04 section
 * 11), and a lab without Internet must pass for a live exit.
 */
#include "tools/lab/router.h"

#include "stack/log.h"
#include "tools/lab/addresses.h"
#include "tools/lab/packet.h"

#include <stdlib.h>
#include <string.h>

#define PORT_DNS  53
#define PORT_HTTP 80

struct router_question {
    struct router *router;
    struct router_question *next;
    size_t len;
    uint8_t packet[];
};

static void to_client(struct router *router, const uint8_t *packet, size_t len)
{
    if (len && smx_ipr_exit_packet(router->exit, role_now(router->role), packet, len))
        router->dropped++;
}

/* --- what the exit answers itself --------------------------------------------------------------------------------- */

static void answer(struct router *router, const uint8_t *packet, size_t len)
{
    router->answered += len > 0;
    to_client(router, packet, len);
}

static void unreachable(struct router *router, const struct smx_ip_view *view, enum packet_unreachable why)
{
    uint8_t out[PACKET_MAX];
    const uint8_t *from = view->version == 4 ? lab_exit4 : lab_exit6;
    answer(router, out, packet_unreachable(out, view, why, why == PACKET_NO_PORT ? view->dst : from));
}

/* What a machine says on a port where nobody listens. */
static void refuse(struct router *router, const struct smx_ip_view *view)
{
    uint8_t out[PACKET_MAX];
    if (packet_is_echo(view))
        answer(router, out, packet_echo_reply(out, view));
    else if (view->protocol == SMX_PROTO_TCP)
        answer(router, out, packet_reset(out, view));
    else
        unreachable(router, view, PACKET_NO_PORT);
}

static bool is_public_resolver(const struct smx_ip_view *view)
{
    static const uint8_t v4[][4] = {{9, 9, 9, 9}, {1, 1, 1, 1}, {8, 8, 8, 8}};
    static const uint8_t v6[][16] = {{0x26, 0x20, 0, 0xfe, [15] = 0xfe},
                                     {0x26, 0x06, 0x47, 0, 0x47, [14] = 0x11, 0x11},
                                     {0x20, 0x01, 0x48, 0x60, 0x48, 0x60, [14] = 0x88, 0x88}};
    for (unsigned i = 0; i < 3; i++)
        if (!memcmp(view->dst, view->version == 4 ? v4[i] : v6[i], view->addr_len))
            return true;
    return false;
}

/* --- questions in datagrams --------------------------------------------------------------------------------------- */

static void question_free(struct router_question *question)
{
    struct router *router = question->router;
    struct router_question **at = &router->questions;
    while (*at != question)
        at = &(*at)->next;
    *at = question->next;
    router->question_n--;
    free(question);
}

static void question_answered(void *ctx, const uint8_t *data, size_t len)
{
    struct router_question *question = ctx;
    struct smx_ip_view view;
    uint8_t out[PACKET_MAX];
    if (data && !smx_ip_parse(&view, question->packet, question->len))
        answer(question->router, out, packet_udp_reply(out, &view, data, len));
    question_free(question);
}

static void ask(struct router *router, const struct smx_ip_view *view, const uint8_t *packet, size_t len)
{
    struct router_question *question = NULL;
    if (router->question_n < ROUTER_QUESTIONS)
        question = malloc(sizeof(*question) + len);
    if (!question) {
        router->dropped++;
        return;
    }
    *question = (struct router_question){.router = router, .next = router->questions, .len = len};
    memcpy(question->packet, packet, len);
    router->questions = question;
    router->question_n++;
    dns_ask(&router->dns, false, view->payload + 8, view->payload_len - 8, question_answered, question);
}

/* --- connections to the exit's services --------------------------------------------------------------------------- */

static struct router_flow *find_flow(struct router *router, bool v6, const uint8_t *client, uint16_t port,
                                     uint16_t service)
{
    uint16_t number = smx_be16(client + (v6 ? 14 : 2));
    for (unsigned i = 0; i < ROUTER_FLOWS; i++) {
        struct router_flow *f = &router->flow[i];
        if (f->used && f->number == number && f->port == port && f->v6 == v6 && f->service == service)
            return f;
    }
    return NULL;
}

static struct router_flow *oldest_flow(struct router *router)
{
    struct router_flow *oldest = &router->flow[0];
    for (unsigned i = 0; i < ROUTER_FLOWS; i++) {
        if (!router->flow[i].used)
            return &router->flow[i];
        if (router->flow[i].last < oldest->last)
            oldest = &router->flow[i];
    }
    return oldest;
}

static void redirect(struct router *router, const struct smx_ip_view *view, size_t len, uint16_t service)
{
    bool v6 = view->version == 6;
    if (!service) {
        refuse(router, view);
        return;
    }
    struct router_flow *flow = find_flow(router, v6, view->src, view->src_port, service);
    if (!flow) {
        flow = oldest_flow(router);
        *flow = (struct router_flow){.used = true,
                                     .v6 = v6,
                                     .number = smx_be16(view->src + (v6 ? 14 : 2)),
                                     .port = view->src_port,
                                     .service = service};
    }
    memcpy(flow->address, view->dst, view->addr_len);
    flow->address_port = view->dst_port;
    flow->last = role_now(router->role);
    packet_rewrite(router->packet, view, PACKET_DESTINATION, v6 ? lab_host6 : lab_host4, service);
    world_send(router->world, router->packet, len);
}

static void undo_redirect(struct router *router, uint8_t *packet, const struct smx_ip_view *view)
{
    bool v6 = view->version == 6;
    int family = v6 ? AF_INET6 : AF_INET;
    uint16_t port = view->src_port;
    if (view->protocol != SMX_PROTO_TCP || memcmp(view->src, v6 ? lab_host6 : lab_host4, view->addr_len) ||
        (port != dns_port(&router->dns, family) && port != httpd_port(&router->page.httpd, family)))
        return;
    struct router_flow *flow = find_flow(router, v6, view->dst, view->dst_port, port);
    if (!flow)
        return;
    flow->last = role_now(router->role);
    packet_rewrite(packet, view, PACKET_SOURCE, flow->address, flow->address_port);
}

/* --- packets ------------------------------------------------------------------------------------------------------ */

static void to_world(struct router *router, size_t len)
{
    if (world_send(router->world, router->packet, len))
        router->out++;
    else
        router->dropped++;
}

static void to_neighbour(struct router *router, const struct smx_ip_view *view, size_t len)
{
    if (smx_ipr_exit_packet(router->exit, role_now(router->role), router->packet, len))
        unreachable(router, view, PACKET_NO_HOST);
}

static void to_place(struct router *router, enum lab_place place, const struct smx_ip_view *view, size_t len)
{
    int family = view->version == 6 ? AF_INET6 : AF_INET;
    switch (place) {
    case LAB_PLACE_HOST:
        if (packet_is_echo(view))
            refuse(router, view);
        else
            to_world(router, len);
        break;
    case LAB_PLACE_HELLO:
        if (view->protocol == SMX_PROTO_TCP && view->dst_port == PORT_HTTP)
            redirect(router, view, len, httpd_port(&router->page.httpd, family));
        else
            refuse(router, view);
        break;
    case LAB_PLACE_EXIT:
        refuse(router, view);
        break;
    case LAB_PLACE_POOL:
        to_neighbour(router, view, len);
        break;
    case LAB_PLACE_OUTSIDE:
        if (packet_is_echo(view) && is_public_resolver(view))
            refuse(router, view);
        else
            to_world(router, len);
        break;
    case LAB_PLACE_SILENT:
        router->swallowed++;
        break;
    case LAB_PLACE_NOBODY:
    case LAB_PLACE_FORBIDDEN:
        unreachable(router, view, PACKET_NO_HOST);
        break;
    }
}

bool router_from_client(struct router *router, const uint8_t *packet, size_t len)
{
    struct smx_ip_view view;
    if (len > sizeof(router->packet) || smx_ip_parse(&view, packet, len))
        return true;
    memcpy(router->packet, packet, len);
    smx_ip_parse(&view, router->packet, len);
    enum lab_place place = lab_place(view.dst, view.addr_len);
    if (place == LAB_PLACE_FORBIDDEN) {
        router->forbidden++;
        return false;
    }
    int family = view.version == 6 ? AF_INET6 : AF_INET;
    if (view.dst_port == PORT_DNS && place != LAB_PLACE_SILENT && view.protocol == SMX_PROTO_UDP)
        ask(router, &view, router->packet, len);
    else if (view.dst_port == PORT_DNS && place != LAB_PLACE_SILENT)
        redirect(router, &view, len, dns_port(&router->dns, family));
    else
        to_place(router, place, &view, len);
    return true;
}

void router_from_world(struct router *router, uint8_t *packet, size_t len)
{
    struct smx_ip_view view;
    router->in++;
    if (!smx_ip_parse(&view, packet, len)) /* fragments are passed on as they are */
        undo_redirect(router, packet, &view);
    to_client(router, packet, len);
}

/* --- life -------------------------------------------------------------------------------------------------------- */

static bool visitor(void *ctx, const struct sockaddr_storage *peer, struct sockaddr_storage *client)
{
    struct router *router = ctx;
    return router->world->who(router->world, peer, client);
}

/* A service listens on both families, but a machine may have no IPv6. */
static enum smx_err open_services(struct router *router, int family, const void *address, struct smx_fault *fault)
{
    enum smx_err err = httpd_open(&router->page.httpd, family, address, 0, "the page hello.lab", fault);
    if (!err)
        err = dns_listen(&router->dns, family, address, fault);
    if (err && family == AF_INET6) {
        smx_info("exit: no services over IPv6: %s", fault->text);
        *fault = (struct smx_fault){0};
        return SMX_OK;
    }
    return err;
}

enum smx_err router_open(struct router *router, struct role *role, struct world *world,
                         const struct lab_options *options, struct smx_fault *fault)
{
    router->role = role;
    router->world = world;
    dns_init(&router->dns, role, options);
    page_init(&router->page, role, visitor, router);
    enum smx_err err = open_services(router, AF_INET, world->service[0], fault);
    if (!err && world->service[1])
        err = open_services(router, AF_INET6, world->service[1], fault);
    return err;
}

enum smx_err router_start(struct router *router)
{
    if (dns_start(&router->dns) || httpd_start(&router->page.httpd))
        return SMX_E_IO;
    return router->world->start(router->world, httpd_port(&router->page.httpd, AF_INET),
                                httpd_port(&router->page.httpd, AF_INET6));
}

void router_close(struct router *router)
{
    if (!router->role)
        return;
    dns_close(&router->dns);
    httpd_close(&router->page.httpd);
    while (router->questions)
        question_free(router->questions);
}
