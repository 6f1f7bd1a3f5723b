/*
 * IP packets that the exit makes itself or changes on their way: echo answers, resets, unreachable messages, datagrams,
 * and addresses rewritten. Pure; every result fits PACKET_MAX bytes.
 */
#ifndef LAB_PACKET_H
#define LAB_PACKET_H

#include "core/ipr/ip.h"

#define PACKET_MAX 1500

enum packet_unreachable { PACKET_NO_HOST, PACKET_NO_PORT };

/* Writers return the length of the packet in out[PACKET_MAX], 0 if there is no answer to `in`. */
size_t packet_echo_reply(uint8_t *out, const struct smx_ip_view *in);
size_t packet_reset(uint8_t *out, const struct smx_ip_view *in); /* TCP only; never answers a reset */
/* `from`: the sending address, of in->addr_len bytes. */
size_t packet_unreachable(uint8_t *out, const struct smx_ip_view *in, enum packet_unreachable why, const uint8_t *from);
/* A datagram back to the sender of `in`, from where `in` went. */
size_t packet_udp_reply(uint8_t *out, const struct smx_ip_view *in, const uint8_t *data, size_t len);

bool packet_is_echo(const struct smx_ip_view *view);

/* Replaces an address and its port (0: leave the port) in place and mends the checksums. `view` is of `packet`. */
enum packet_end { PACKET_SOURCE, PACKET_DESTINATION };
void packet_rewrite(uint8_t *packet, const struct smx_ip_view *view, enum packet_end end, const uint8_t *address,
                    uint16_t port);
/* The packet inside an ICMP error, for the same purpose: where it starts and how much is there. False: no error. */
bool packet_inside(const struct smx_ip_view *view, size_t *offset, size_t *len);

#endif
