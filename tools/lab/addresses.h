/*
 * The addresses inside the lab (design section 9), each with its IPv6 twin.
 */
#ifndef LAB_ADDRESSES_H
#define LAB_ADDRESSES_H

#include <stdint.h>

/* 198.18.0.0/15 (RFC 2544) and 2001:db8:1ab::/64 */
extern const uint8_t lab_host4[4], lab_host6[16];     /* .1: this machine's loopback, any port */
extern const uint8_t lab_hello4[4], lab_hello6[16];   /* .2: hello.lab */
extern const uint8_t lab_silent4[4], lab_silent6[16]; /* .3: swallows every packet */
/* The exit itself in the clients' pool: 10.0.0.1, fc00::1 (04 section 11). */
extern const uint8_t lab_exit4[4], lab_exit6[16];

enum lab_place {
    LAB_PLACE_HOST,
    LAB_PLACE_HELLO,
    LAB_PLACE_SILENT,
    LAB_PLACE_NOBODY, /* in the lab's range, but no address of it */
    LAB_PLACE_EXIT,
    LAB_PLACE_POOL,      /* a client of the exit, or nobody */
    LAB_PLACE_FORBIDDEN, /* loopback, multicast and the like */
    LAB_PLACE_OUTSIDE,
};
enum lab_place lab_place(const uint8_t *address, unsigned len /* 4 or 16 */);

#endif
