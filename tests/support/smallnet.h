/*
 * A mixnet of the tunnel's tests, in the test's own process and loop: a directory and gateways behind real sockets on
 * the loopback, mix nodes that are function calls (no delays), and an exit that answers pings. Every part can be told
 * to misbehave. Keys and addresses are those of spec 05 section 12.2.
 */
#ifndef TEST_SUPPORT_SMALLNET_H
#define TEST_SUPPORT_SMALLNET_H

#include "core/directory/topology.h"
#include "core/gateway/gateway.h"
#include "stack/loop/loop.h"

#include <stddef.h>

#define SMALLNET_GATEWAYS 2
#define SMALLNET_CLIENTS  8

enum smallnet_directory {
    DIRECTORY_GOOD,
    DIRECTORY_MISSING,    /* 404 for everything */
    DIRECTORY_GARBAGE,    /* 200 and no JSON */
    DIRECTORY_EMPTY,      /* lists without nodes */
    DIRECTORY_SILENT,     /* takes requests, answers nothing */
    DIRECTORY_MIXED_UP,   /* documents of different epochs, always */
    DIRECTORY_EPOCH_ENDS, /* the same, in the first round only */
    DIRECTORY_NO_EXITS,   /* 404 for the described nodes */
    DIRECTORY_LATE_EXITS  /* holds the described nodes back until smallnet_release_exits */
};

enum smallnet_gateway {
    GATEWAY_GOOD,
    GATEWAY_CLOSED,   /* nobody listens */
    GATEWAY_HANGS_UP, /* closes after accepting */
    GATEWAY_SILENT,   /* accepts and never answers */
    GATEWAY_NO_WS,    /* a web server */
    GATEWAY_OLD,      /* protocol version 3 */
    GATEWAY_IMPOSTOR, /* has another identity than the directory says */
    GATEWAY_PAID,     /* refuses free bandwidth */
    GATEWAY_NOISE     /* answers with random binary and broken text */
};

enum smallnet_exit {
    EXIT_GOOD,
    EXIT_SILENT, /* swallows what arrives */
    EXIT_FULL,   /* denies every connect */
    EXIT_NOWHERE /* connects, answers pings, and loses every IP packet */
};

struct smallnet;
struct smallnet_view { /* what a test may set and read */
    enum smallnet_directory directory;
    enum smallnet_gateway gateway[SMALLNET_GATEWAYS];
    enum smallnet_exit exit;
    bool v10;                     /* the exit's node promises IPR v10 */
    bool dead_exit;               /* the directory lists a second exit, at gateway 0, that does not exist */
    bool hide[SMALLNET_GATEWAYS]; /* leave the gateway out of the directory */
    uint32_t epoch;
    unsigned requests, registrations, logins, connections; /* counted */
    unsigned echoes;                                       /* answered by the exit */
    unsigned exit_clients;
};

/* gateways: 1 or 2; the exit is at the last one. */
struct smallnet *smallnet_new(struct smx_loop *loop, unsigned gateways);
void smallnet_free(struct smallnet *net);
struct smallnet_view *smallnet_view(struct smallnet *net);

const char *smallnet_api(const struct smallnet *net);
void smallnet_identity(const struct smallnet *net, unsigned gateway, uint8_t out[static 32]);
const struct smx_recipient *smallnet_ipr(const struct smallnet *net);

void smallnet_set_gateway(struct smallnet *net, unsigned gateway, enum smallnet_gateway mode);
uint16_t smallnet_gateway_port(const struct smallnet *net, unsigned gateway);
/* The directory offers the gateway by TLS at this name and port, and its plain port is one where nobody listens. */
void smallnet_offer_tls(struct smallnet *net, unsigned gateway, const char *hostname, uint16_t port);
void smallnet_release_exits(struct smallnet *net);
void smallnet_cut(struct smallnet *net);    /* every client's connection */
void smallnet_forget(struct smallnet *net); /* every registration */
void smallnet_forget_exit(struct smallnet *net);
/* Raw bytes as a pushed frame's place: whatever the client makes of it. */
void smallnet_send_noise(struct smallnet *net);

#endif
