/*
 * The exit's world as the kernel's network stack behind a TUN device, for root (or root of a namespace).
 *
 * The device has the exit's addresses 10.0.0.1/16 and fc00::1/112, and lab_host6. lab_host4 becomes 127.0.0.1 here, in
 * every packet that passes, and the device alone is allowed to carry loopback addresses (route_localnet); so the
 * machine's loopback needs no rule in the kernel. What goes further is masqueraded, by nft or iptables, whichever is
 * there; it leaves the machine only where the machine forwards anyway (net.ipv4.ip_forward), and only as IPv4.
 *
 * Undone at the end: the device and its settings vanish with its descriptor, whatever ends the process; the
 * masquerading rule is named after the device, removed at the end, and after a SIGKILL by the next start. A machine
 * that itself has an address in 10.0.0.0/16 is refused, its own network would become unreachable.
 */
#include "core/ipr/ip.h"
#include "stack/log.h"
#include "tools/lab/addresses.h"
#include "tools/lab/packet.h"
#include "tools/lab/world.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <net/route.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/wait.h>

#define TUN_NAME   "smxlab"
#define TUN_LABS   16 /* labs with a device on one machine whose rules are cleaned up after */
#define SCRIPT_MAX 4096

extern char **environ;

struct tun {
    struct world world;
    char name[IFNAMSIZ];
    enum { RULES_NONE, RULES_NFT, RULES_IPTABLES } rules;
};

/* --- the loopback ------------------------------------------------------------------------------------------------ */

static const uint8_t loopback4[4] = {127, 0, 0, 1};

static void outgoing(uint8_t *packet, size_t len)
{
    struct smx_ip_view view;
    if (!smx_ip_parse(&view, packet, len) && view.version == 4 && !memcmp(view.dst, lab_host4, 4))
        packet_rewrite(packet, &view, PACKET_DESTINATION, loopback4, 0);
}

/* The client's packet as an ICMP error quotes it: perhaps cut, so its own length fields do not hold. */
static void incoming_inside(uint8_t *packet, const struct smx_ip_view *view)
{
    size_t offset, len;
    if (!packet_inside(view, &offset, &len) || len < SMX_IPV4_HEADER)
        return;
    uint8_t *inside = packet + (view->payload - packet) + offset;
    size_t header = (size_t)(inside[0] & 15) * 4;
    if (inside[0] >> 4 != 4 || header < SMX_IPV4_HEADER || header > len || memcmp(inside + 16, loopback4, 4))
        return;
    struct smx_ip_view quoted = {.version = 4,
                                 .protocol = inside[9],
                                 .addr_len = 4,
                                 .src = inside + 12,
                                 .dst = inside + 16,
                                 .payload = inside + header,
                                 .payload_len = len - header};
    packet_rewrite(inside, &quoted, PACKET_DESTINATION, lab_host4, 0);
    uint8_t *icmp = inside - offset;
    smx_put_be16(icmp + 2, 0);
    smx_put_be16(icmp + 2, smx_ip_checksum(icmp, view->payload_len));
}

static void incoming(uint8_t *packet, size_t len)
{
    struct smx_ip_view view;
    if (smx_ip_parse(&view, packet, len) || view.version != 4)
        return;
    if (view.protocol == SMX_PROTO_ICMP)
        incoming_inside(packet, &view);
    if (!memcmp(view.src, loopback4, 4))
        packet_rewrite(packet, &view, PACKET_SOURCE, lab_host4, 0);
}

/* The kernel keeps the client's address. */
static bool who(struct world *world, const struct sockaddr_storage *peer, struct sockaddr_storage *client)
{
    (void)world;
    *client = *peer;
    return true;
}

/* --- masquerading ------------------------------------------------------------------------------------------------ */

/* Runs a tool with a script for its input and its output thrown away. */
static bool run_tool(char *const argv[], const char *script)
{
    posix_spawn_file_actions_t actions;
    int in[2], status = -1;
    pid_t pid;
    if (pipe2(in, O_CLOEXEC))
        return false;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, in[0], 0);
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    bool spawned = !posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(in[0]);
    bool written = write(in[1], script, strlen(script)) == (ssize_t)strlen(script); /* fits a pipe */
    close(in[1]);
    while (spawned && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return spawned && written && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static bool run_nft(const char *script)
{
    char *argv[] = {"nft", "-f", "-", NULL};
    return run_tool(argv, script);
}

static bool run_iptables(const char *action, const char *device)
{
    char comment[32 + IFNAMSIZ];
    snprintf(comment, sizeof(comment), "smolmix-lab %s", device);
    char *argv[] = {"iptables", "-w",          "-t",    "nat", (char *)action, "POSTROUTING",
                    "-s",       "10.0.0.0/16", "!",     "-o",  (char *)device, "-m",
                    "comment",  "--comment",   comment, "-j",  "MASQUERADE",   NULL};
    return run_tool(argv, "");
}

/* Adding a table that exists does nothing, so this also removes one that is not there. */
static int nft_remove(char *out, size_t cap, const char *device)
{
    return snprintf(out, cap, "add table ip smolmix_lab_%s\ndelete table ip smolmix_lab_%s\n", device, device);
}

static void remove_rules(struct tun *tun)
{
    char script[256];
    nft_remove(script, sizeof(script), tun->name);
    if (tun->rules == RULES_NFT)
        run_nft(script);
    else if (tun->rules == RULES_IPTABLES)
        run_iptables("-D", tun->name);
}

/* What a killed lab left behind: rules of devices that are gone, or that were called as ours is now. */
static size_t stale_rules(char *script, size_t cap, const struct tun *tun, bool nft)
{
    size_t at = 0;
    for (unsigned i = 0; i < TUN_LABS; i++) {
        char device[IFNAMSIZ];
        snprintf(device, sizeof(device), TUN_NAME "%u", i);
        if (strcmp(device, tun->name) && if_nametoindex(device))
            continue;
        if (nft)
            at += (size_t)nft_remove(script + at, cap - at, device);
        else
            while (run_iptables("-D", device))
                ;
    }
    return at;
}

static void add_rules(struct tun *tun)
{
    char script[SCRIPT_MAX];
    size_t at = stale_rules(script, sizeof(script), tun, true);
    snprintf(script + at, sizeof(script) - at,
             "table ip smolmix_lab_%s {\n chain out {\n  type nat hook postrouting priority 100;\n"
             "  ip saddr 10.0.0.0/16 oifname != \"%s\" masquerade\n }\n}\n",
             tun->name, tun->name);
    if (run_nft(script)) {
        tun->rules = RULES_NFT;
        return;
    }
    stale_rules(NULL, 0, tun, false);
    if (run_iptables("-A", tun->name))
        tun->rules = RULES_IPTABLES;
    else
        smx_info("exit: neither nft nor iptables works: only this machine is reachable behind the exit");
}

/* --- the device --------------------------------------------------------------------------------------------------- */

static bool address_taken(void)
{
    struct ifaddrs *list;
    bool taken = false;
    if (getifaddrs(&list))
        return false;
    for (struct ifaddrs *i = list; i; i = i->ifa_next) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)i->ifa_addr;
        if (in && in->sin_family == AF_INET)
            taken = taken || lab_place((const uint8_t *)&in->sin_addr, 4) == LAB_PLACE_POOL ||
                    !memcmp(&in->sin_addr, lab_exit4, 4);
    }
    freeifaddrs(list);
    return taken;
}

static struct ifreq request(const struct tun *tun)
{
    struct ifreq r = {0};
    memcpy(r.ifr_name, tun->name, IFNAMSIZ);
    return r;
}

static void set_ipv4(struct ifreq *r, const uint8_t address[static 4])
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    memcpy(&in.sin_addr, address, 4);
    memcpy(&r->ifr_addr, &in, sizeof(in));
}

static bool configure4(const struct tun *tun, int s, uint16_t mtu)
{
    static const uint8_t mask[4] = {255, 255, 0, 0};
    struct ifreq r = request(tun);
    r.ifr_mtu = mtu;
    if (ioctl(s, SIOCSIFMTU, &r))
        return false;
    set_ipv4(&r, lab_exit4);
    if (ioctl(s, SIOCSIFADDR, &r))
        return false;
    set_ipv4(&r, mask);
    if (ioctl(s, SIOCSIFNETMASK, &r))
        return false;
    r = request(tun);
    if (ioctl(s, SIOCGIFFLAGS, &r))
        return false;
    r.ifr_flags |= IFF_UP | IFF_RUNNING;
    return !ioctl(s, SIOCSIFFLAGS, &r);
}

static bool add_ipv6(const struct tun *tun, int s, const uint8_t address[static 16], uint32_t prefix)
{
    struct {
        struct in6_addr address;
        uint32_t prefix;
        int index;
    } r = {.prefix = prefix, .index = (int)if_nametoindex(tun->name)};
    memcpy(&r.address, address, 16);
    return !ioctl(s, SIOCSIFADDR, &r);
}

static bool configure6(const struct tun *tun)
{
    int s = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool done = s >= 0 && add_ipv6(tun, s, lab_exit6, 112) && add_ipv6(tun, s, lab_host6, 128);
    if (s >= 0)
        close(s);
    return done;
}

static bool set_sysctl(const struct tun *tun, const char *name)
{
    char path[128];
    snprintf(path, sizeof(path), "/proc/sys/net/ipv4/conf/%s/%s", tun->name, name);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool done = fd >= 0 && write(fd, "1", 1) == 1;
    if (fd >= 0)
        close(fd);
    return done;
}

static const char *open_device(struct tun *tun)
{
    struct ifreq r = {.ifr_flags = IFF_TUN | IFF_NO_PI};
    memcpy(r.ifr_name, TUN_NAME "%d", sizeof(TUN_NAME "%d"));
    tun->world.fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (tun->world.fd < 0)
        return "cannot open /dev/net/tun";
    if (ioctl(tun->world.fd, TUNSETIFF, &r))
        return "cannot make a TUN device";
    memcpy(tun->name, r.ifr_name, IFNAMSIZ);
    return NULL;
}

static const char *configure(struct tun *tun, uint16_t mtu)
{
    int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool done = s >= 0 && configure4(tun, s, mtu);
    if (s >= 0)
        close(s);
    if (!done)
        return "cannot set the TUN device's addresses";
    if (!set_sysctl(tun, "route_localnet"))
        return "cannot allow loopback addresses on the TUN device";
    if (!set_sysctl(tun, "forwarding"))
        smx_info("exit: the kernel will not forward: only this machine is reachable behind the exit");
    tun->world.service[1] = configure6(tun) ? lab_host6 : NULL;
    return NULL;
}

/* --- life -------------------------------------------------------------------------------------------------------- */

static enum smx_err start(struct world *world, uint16_t page4, uint16_t page6)
{
    (void)page4;
    (void)page6;
    add_rules((struct tun *)world);
    return SMX_OK;
}

static void tun_free(struct world *world)
{
    struct tun *tun = (struct tun *)world;
    remove_rules(tun);
    if (world->fd >= 0)
        close(world->fd);
    free(tun);
}

struct world *world_tun(uint16_t mtu, struct smx_fault *fault)
{
    struct tun *tun = calloc(1, sizeof(*tun));
    if (!tun) {
        smx_fail(fault, SMX_E_NOMEM, "out of memory");
        return NULL;
    }
    tun->world = (struct world){.fd = -1,
                                .service = {loopback4, NULL},
                                .start = start,
                                .outgoing = outgoing,
                                .incoming = incoming,
                                .who = who,
                                .free = tun_free};
    if (address_taken()) {
        smx_fail(fault, SMX_E_CONFIG,
                 "--exit tun: this machine has an address in 10.0.0.0/16, which the exit needs; try it in a network "
                 "namespace (unshare -n)");
    } else {
        const char *what = open_device(tun);
        what = what ? what : configure(tun, mtu);
        if (!what)
            return &tun->world;
        smx_fail(fault, SMX_E_CONFIG, "--exit tun: %s: %s", what,
                 errno == EPERM || errno == EACCES ? "this needs root" : strerror(errno));
    }
    tun_free(&tun->world);
    return NULL;
}
