/*
 * A client of the lab for its own tests: a tunnel (stack/tunnel) behind a TUN device of this network namespace, so that
 * the kernel's TCP/IP and stock programs use the exit directly, without the engine's lwIP and the shim.
 *
 *   lab-client DEVICE    options come from SMOLMIX_* as everywhere
 *
 * Prints one line per change of state: "ready IPV4 IPV6 VERSION MTU", "reconnecting WHY", "failed WHY". The device gets
 * the addresses of the exit; routes are the caller's. Ends with its standard input.
 */
#include "core/crypto/crypto.h"
#include "stack/log.h"
#include "stack/tunnel/tunnel.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define BATCH       32
#define INTERACTIVE 200 /* packets up to this size go before bulk */

extern char **environ;

static struct {
    struct smx_loop *loop;
    struct smx_tunnel *tunnel;
    struct smx_source device, input;
    char name[IFNAMSIZ];
} self;

static void take_address(void)
{
    struct smx_tunnel_status status;
    char v4[INET_ADDRSTRLEN], v6[INET6_ADDRSTRLEN], command[512];
    smx_tunnel_status(self.tunnel, &status);
    inet_ntop(AF_INET, status.addresses.ipv4, v4, sizeof(v4));
    inet_ntop(AF_INET6, status.addresses.ipv6, v6, sizeof(v6));
    snprintf(command, sizeof(command),
             "ip addr flush dev %1$s scope global; ip link set %1$s mtu %4$u up; ip addr add %2$s/32 dev %1$s; "
             "ip -6 addr add %3$s/128 dev %1$s nodad",
             self.name, v4, v6, status.addresses.mtu);
    if (system(command) != 0)
        fprintf(stderr, "cannot set the addresses\n");
    printf("ready %s %s %u %u\n", v4, v6, status.addresses.version, status.addresses.mtu);
}

static void on_state(void *ctx, enum smx_tunnel_state state, bool addresses_changed, const struct smx_fault *why)
{
    (void)ctx;
    (void)addresses_changed;
    if (state == SMX_TUNNEL_READY)
        take_address();
    else if (state == SMX_TUNNEL_RECONNECTING || state == SMX_TUNNEL_FAILED)
        printf("%s %s\n", smx_tunnel_state_name(state), why ? why->text : "");
    fflush(stdout);
}

static void on_packet(void *ctx, const uint8_t *packet, size_t len)
{
    (void)ctx;
    if (write(self.device.fd, packet, len) < 0 && errno != EIO)
        fprintf(stderr, "packet of %zu bytes: %s\n", len, strerror(errno));
}

static void on_refused(void *ctx, const char *destination, size_t len)
{
    (void)ctx;
    printf("refused %.*s\n", (int)len, destination);
    fflush(stdout);
}

static void from_device(struct smx_source *source, uint32_t events)
{
    (void)events;
    uint8_t packet[2048];
    for (unsigned i = 0; i < BATCH; i++) {
        if (!smx_tunnel_writable(self.tunnel)) {
            smx_source_set(self.loop, source, 0);
            return;
        }
        ssize_t n = read(source->fd, packet, sizeof(packet));
        if (n <= 0)
            return;
        smx_tunnel_send(self.tunnel, packet, (size_t)n, n <= INTERACTIVE);
    }
}

static void on_writable(void *ctx)
{
    (void)ctx;
    smx_source_set(self.loop, &self.device, EPOLLIN);
}

static void on_input(struct smx_source *source, uint32_t events)
{
    (void)events;
    char line[256];
    if (read(source->fd, line, sizeof(line)) <= 0)
        smx_loop_stop(self.loop);
}

static bool open_device(const char *name)
{
    struct ifreq r = {.ifr_flags = IFF_TUN | IFF_NO_PI};
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", name);
    if (fd < 0 || ioctl(fd, TUNSETIFF, &r))
        return false;
    memcpy(self.name, r.ifr_name, sizeof(self.name));
    self.device.ready = from_device;
    return !smx_source_add(self.loop, &self.device, fd, EPOLLIN);
}

int main(int argc, char **argv)
{
    static const struct smx_tunnel_ops ops = {on_state, on_packet, on_refused, on_writable};
    struct smx_config config;
    struct smx_fault fault = {0};
    smx_config_default(&config);
    if (argc != 2 || smx_crypto_init() || smx_config_environment(&config, environ, &fault)) {
        fprintf(stderr, "lab-client: %s\n", fault.code ? fault.text : "usage: lab-client DEVICE");
        return 2;
    }
    smx_log_open(STDERR_FILENO, config.log, false);
    signal(SIGPIPE, SIG_IGN);
    self.loop = smx_loop_new();
    self.tunnel = self.loop ? smx_tunnel_new(self.loop, &config, &ops, NULL) : NULL;
    self.input.ready = on_input;
    if (!self.tunnel || !open_device(argv[1]) || smx_source_add(self.loop, &self.input, STDIN_FILENO, EPOLLIN)) {
        perror("lab-client");
        return 1;
    }
    smx_tunnel_start(self.tunnel);
    smx_tunnel_want_window(self.tunnel, 1 << 20);
    smx_loop_run(self.loop);
    smx_tunnel_stop(self.tunnel);
    smx_tunnel_free(self.tunnel);
    smx_source_remove(self.loop, &self.device);
    close(self.device.fd);
    smx_loop_free(self.loop);
    return 0;
}
