/*
 * Between the exit's clients and the world: what the exit answers itself (names, echoes, its page), what it hands from
 * client to client, what it swallows, what it forbids, and what goes out.
 */
#ifndef LAB_ROUTER_H
#define LAB_ROUTER_H

#include "core/ipr/exit.h"
#include "tools/lab/dns.h"
#include "tools/lab/page.h"
#include "tools/lab/world.h"

#define ROUTER_FLOWS     1024 /* TCP connections to the exit's own services that are told apart; the oldest goes first */
#define ROUTER_QUESTIONS 256  /* DNS datagrams not answered yet */

/* One TCP connection whose destination was replaced by one of the exit's own services. */
struct router_flow {
    bool used, v6;
    uint16_t number, port; /* the client's: last half of its address, port */
    uint16_t service;      /* the port it was sent to */
    uint8_t address[16];   /* where the client thinks it is */
    uint16_t address_port;
    smx_ns last;
};

struct router_question;

struct router {
    struct role *role;
    struct world *world;
    struct smx_ipr_exit *exit; /* the clients; changed by its owner */
    struct dns dns;
    struct page page;
    struct router_flow flow[ROUTER_FLOWS];
    struct router_question *questions;
    unsigned question_n;
    uint64_t out, in, answered, swallowed, forbidden, dropped;
    uint8_t packet[WORLD_PACKET_MAX];
};

/* Opens the exit's services where the world reaches them. On failure close it too. */
enum smx_err router_open(struct router *router, struct role *role, struct world *world,
                         const struct lab_options *options, struct smx_fault *fault);
enum smx_err router_start(struct router *router);
void router_close(struct router *router);

/* One packet of a client. False: forbidden. */
bool router_from_client(struct router *router, const uint8_t *packet, size_t len);
/* One packet of the world; it may be changed. */
void router_from_world(struct router *router, uint8_t *packet, size_t len);

#endif
