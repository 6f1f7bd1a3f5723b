/*
 * lwIP as the tunnel's TCP/IP stack: one thread (NO_SYS), the raw API only, memory from malloc under one cap, timers
 * driven by the engine's loop (netif.c). The numbers follow spec 07 sections 6.2 and 8: large windows, because the
 * mixnet's round trip is long; every wait in terms of time, because its order is random.
 *
 * lwIP's state is global, so a process has at most one engine. Our patches to it are described in patches/README.
 */
#ifndef SMX_TCPIP_LWIPOPTS_H
#define SMX_TCPIP_LWIPOPTS_H

/* --- what is compiled --------------------------------------------------------------------------------------------- */
#define NO_SYS               1
#define SYS_LIGHTWEIGHT_PROT 0
#define LWIP_NETCONN         0
#define LWIP_SOCKET          0
#define LWIP_CALLBACK_API    1
#define LWIP_IPV4            1
#define LWIP_IPV6            1
#define LWIP_TCP             1
#define LWIP_UDP             1
#define LWIP_RAW             1
#define LWIP_ICMP            1
#define LWIP_ICMP6           1
#define LWIP_ARP             0
#define LWIP_ETHERNET        0
#define LWIP_DHCP            0
#define LWIP_DNS             0
#define LWIP_IGMP            0
#define LWIP_STATS           0
#define LWIP_SINGLE_NETIF    1
#define LWIP_HAVE_LOOPIF     0
#define LWIP_NETIF_LOOPBACK  0
#define LWIP_TIMERS          0 /* netif.c calls tcp_tmr and the reassembly timers */
#define IP_FORWARD           0
#define LWIP_IPV6_FORWARD    0
#define IP_FRAG              0 /* the exit drops fragments (spec 04 section 12) */
#define LWIP_IPV6_FRAG       0
#define IP_REASSEMBLY        1 /* answers larger than the exit's MTU do arrive in fragments */
#define LWIP_IPV6_REASS      1
#define IPV6_FRAG_COPYHEADER 1 /* needed with 64-bit pointers */
#define IP_REASS_MAX_PBUFS   256
#define MEMP_NUM_REASSDATA   32
#define IP_SOF_BROADCAST     0
#define SO_REUSE             1 /* a local port may serve several destinations, as on Linux */
#define LWIP_IPV6_SCOPES     0
/* No neighbours, routers or multicast on this link. */
#define LWIP_IPV6_MLD                   0
#define LWIP_IPV6_AUTOCONFIG            0
#define LWIP_IPV6_SEND_ROUTER_SOLICIT   0
#define LWIP_IPV6_DUP_DETECT_ATTEMPTS   0
#define LWIP_IPV6_DHCP6                 0
#define LWIP_IPV6_NUM_ADDRESSES         1
#define LWIP_ND6_ALLOW_RA_UPDATES       0
#define LWIP_ND6_QUEUEING               0
#define LWIP_ND6_TCP_REACHABILITY_HINTS 0

/* --- memory ------------------------------------------------------------------------------------------------------- */
/* Everything comes from smx_lwip_malloc, which counts and refuses above SMX_TCPIP_MEMORY_MAX; when a connection does
 * not fit any more, lwIP first sacrifices its connections in TIME-WAIT and in closing states. */
#define MEM_LIBC_MALLOC                 1
#define MEMP_MEM_MALLOC                 1
#define MEM_ALIGNMENT                   8
#define mem_clib_malloc                 smx_lwip_malloc
#define mem_clib_calloc                 smx_lwip_calloc
#define mem_clib_free                   smx_lwip_free
#define LWIP_DISABLE_TCP_SANITY_CHECKS  1 /* they compare with pools that do not exist here */
#define LWIP_DISABLE_MEMP_SANITY_CHECKS 1
#define PBUF_POOL_BUFSIZE               1600
#define PBUF_POOL_SIZE                  8

/* --- IP ----------------------------------------------------------------------------------------------------------- */
/* Checksums are made by us, since the exit does not mend them (spec 04 section 12), and checked on arrival, since the
 * way from the server to the exit is an ordinary network. The IPv4 header's own is made in netif.c. */
#define CHECKSUM_GEN_IP       0
#define LWIP_CHECKSUM_ON_COPY 1
#define LWIP_CHKSUM_ALGORITHM 3
#define IP_DEFAULT_TTL        64

/* --- TCP ---------------------------------------------------------------------------------------------------------- */
#define TCP_MSS                    1380 /* the MTU of a v9 exit is 1420 (spec 04 section 11) */
#define TCP_CALCULATE_EFF_SEND_MSS 1
#define LWIP_WND_SCALE             1
#define TCP_RCV_SCALE              7
#define TCP_WND                    (1024 * 1024) /* the most one flow may have; flow.c opens it by need */
#define TCP_SND_BUF                (1024 * 1024)
#define TCP_SND_QUEUELEN           4096
#define TCP_OVERSIZE               TCP_MSS
#define TCP_QUEUE_OOSEQ            1
#define TCP_OOSEQ_MAX_BYTES        TCP_WND
#define TCP_OOSEQ_MAX_PBUFS        2048
#define LWIP_TCP_SACK_OUT          1
#define LWIP_TCP_MAX_SACK_NUM      4
#define LWIP_TCP_TIMESTAMPS        1
#define LWIP_TCP_KEEPALIVE         1
#define TCP_LISTEN_BACKLOG         1
#define TCP_TMR_INTERVAL           100  /* fast timer (delayed acks, loss by time) 100 ms, slow timer 200 ms */
#define LWIP_TCP_RTO_TIME          3000 /* first RTO; also lwIP's default (07 I8) */
#define TCP_MAXRTX                 12
#define TCP_SYNMAXRTX              12    /* flow.c ends a connect attempt by time */
#define TCP_MSL                    15000 /* TIME-WAIT for 30 s: ports are random, a command's tunnel is short-lived */
/* Window updates beyond those that ride on acks are flow.c's decision. */
#define TCP_WND_UPDATE_THRESHOLD (2 * TCP_WND)

/* Patched in (patches/): RTO bounds, acks by count and time, recovery by time. */
#define SMX_TCP_RTO_MIN 1000 /* ms (07 I8) */
#define SMX_TCP_RTO_MAX 60000
#define SMX_TCP_MSS_MIN 88 /* below this a peer's MSS option is taken for this, as a guard against abuse */
/* 07 I4; 8 would save 5 % of the packets up, and stall small windows */
#define SMX_TCP_ACK_EVERY 4  /* segments per ack in a steady download */
#define SMX_TCP_ACK_QUICK 16 /* first segments of a flow, acknowledged in pairs */
/* A segment is late after one and a quarter of the mean round trip (07 I6) and a wait that adapts (patch 03) between */
#define SMX_TCP_REORDER_MIN    20  /* ms */
#define SMX_TCP_REORDER_MS     400 /* the greatest; it starts at a quarter of this */
#define SMX_TCP_REORDER_MEMORY 64  /* of so many segments that were sent again it knows how many were in vain */

/* --- identity: nothing predictable, nothing in common between flows ----------------------------------------------- */
#include <stddef.h>
#include <stdint.h>
uint32_t smx_lwip_random(void);
void *smx_lwip_malloc(size_t size);
void *smx_lwip_calloc(size_t count, size_t size);
void smx_lwip_free(void *p);
_Noreturn void smx_lwip_assert(const char *text, int line);
#define LWIP_RAND()                                                     smx_lwip_random()
#define LWIP_HOOK_TCP_ISN(local_ip, local_port, remote_ip, remote_port) smx_lwip_random()

#endif
