/*
 * A peer made of segments: a test writes what the far end of one TCP connection sends, and sees what our stack answers.
 * One flow between 10.0.0.2 (us) and 10.0.0.9:80; no kernel, no privileges.
 */
#ifndef SMX_TESTS_SEGMENTS_H
#define SMX_TESTS_SEGMENTS_H

#include "stack/tcpip/flow.h"

enum { SEG_FIN = 1, SEG_SYN = 2, SEG_RST = 4, SEG_PSH = 8, SEG_ACK = 16 };

struct segment { /* as parsed from one of our packets */
    smx_ns at;
    uint16_t port, window, id, mss; /* mss 0: no such option */
    uint32_t seq, ack, timestamp;
    uint8_t flags;
    size_t len;
};

#define SEGMENTS_MAX 4096

struct segments {
    struct smx_loop *loop;
    struct smx_netif *netif;
    struct smx_flows *flows;
    struct segment sent[SEGMENTS_MAX]; /* by us; the newest overwrite the oldest */
    size_t n;
    bool full; /* the link refuses */
    uint16_t port;
    uint32_t next;     /* after what we sent last */
    uint32_t expected; /* our last acknowledgement */
};

void segments_open(struct segments *s);
void segments_close(struct segments *s);
/* The last segment we sent. */
const struct segment *segments_last(const struct segments *s);
/* Gives us one segment of the peer with correct checksums; options are padded by the caller. */
void segments_give(struct segments *s, uint8_t flags, uint32_t seq, uint32_t ack, uint16_t window,
                   const uint8_t *options, size_t options_len, size_t payload);
/* A flow to the peer; the program's end, its unix socket empty. */
int segments_dial(struct segments *s, const struct smx_flow_ops *ops, void *ctx, struct smx_flow **flow);
/* Answers the SYN; options may be NULL. The peer's sequence numbers begin at 1001. */
void segments_establish(struct segments *s, uint16_t window, const uint8_t *options, size_t options_len);
void segments_turn(struct segments *s, smx_ns time);

#endif
