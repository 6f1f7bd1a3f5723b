/*
 * A gateway client and, if wanted, a gateway session with queues between them. Whatever one end sends waits until
 * pair_run delivers it, so that a test can look at it, change it or lose it. Records what reached the two users.
 */
#ifndef TEST_SUPPORT_GATEWAY_PAIR_H
#define TEST_SUPPORT_GATEWAY_PAIR_H

#include "core/gateway/session.h"

#define PAIR_QUEUE 2048
#define PAIR_INBOX 256

struct pair_message {
    bool text;
    size_t len;
    uint8_t *bytes;
};

struct pair_queue {
    unsigned head, n;
    struct pair_message message[PAIR_QUEUE];
};

struct pair {
    struct smx_random_seeded random;
    struct smx_ed25519 gateway_identity;
    uint8_t expected_gateway[32]; /* whom the client wants to talk to */
    struct smx_client_keys keys;
    struct smx_registration saved; /* the client's, as last saved */
    unsigned saves;
    smx_ns now;
    int64_t unix_time;

    struct smx_gateway *client;
    enum smx_gateway_state states[16]; /* every state it entered */
    unsigned state_n;
    unsigned pushes;  /* messages that reached the client's user */
    uint8_t push[64]; /* begin of the last one */
    size_t push_len;

    struct smx_session *server;
    struct smx_session_config config;
    struct smx_registration stored; /* the gateway's table: one client */
    bool live, refuse;              /* another session is open; and does not give way */
    unsigned inbox;                 /* messages waiting for the client; message i is the number i in 21 bytes */
    unsigned forwards, forgets;
    struct smx_forward forward; /* last one; packet is a copy in `packet` */
    uint8_t packet[SMX_PACKET_MAX];

    struct pair_queue up, down; /* to the gateway, to the client */
};

/* A client that is not registered and a gateway that knows nobody; version 6, generous grants. Not connected. */
struct pair *pair_new(void);
void pair_free(struct pair *pair);
/* A new connection: fresh machines on both ends (the old ones are freed), queues emptied, client started. */
void pair_connect(struct pair *pair);
/* The same with the client only; the test plays the gateway. */
void pair_connect_client(struct pair *pair);
/* Delivers everything, also what is sent in answer, until both queues are empty. */
void pair_run(struct pair *pair);
/* Plays the gateway: a text for the client, delivered at once. */
void pair_say(struct pair *pair, const char *json);
/* Oldest text the client sent, removed from the queue; static buffer, "" if there is none, "<binary>" for a frame. */
const char *pair_heard(struct pair *pair);
/* Sends a packet of `len` bytes to 127.0.0.1:10001. */
enum smx_err pair_forward(struct pair *pair, uint8_t rotation, size_t len);

#endif
