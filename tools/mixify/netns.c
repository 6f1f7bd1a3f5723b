/*
 * --guard netns: a user, network and mount namespace for the command, with loopback and a TUN device in it and nothing
 * else. The kernel's own TCP/IP serves the programs, so everything works that works on a network: static binaries, raw
 * sockets (for root), io_uring, browsers with their sandboxes, servers on wildcard addresses. Nothing gets past it because
 * there is no way: whatever socket a program makes, it is in this namespace. When the engine ends, however it ends, the
 * device vanishes with its descriptor.
 *
 *     front -> engine: network outside, holds the TUN device and two netlink sockets of the inside
 *                 \-> command: forked early, before the engine has keys; waits inside until the tunnel is ready
 *                 \-> keeper: waits inside for the engine's end, then ends the connections that are open
 *
 * Steps of the process inside, each reported to the engine's, which gives up with one line when one fails:
 *
 *   1. inherited network descriptors are closed, as in the other mode (shim/guard/inherited.c)
 *   2. unshare: user, network and mount namespace
 *   3. the engine's process writes the maps: every id to itself if it may (root), else the user's own two
 *   4. resolv.conf, and the resolvers' local sockets hidden (netns_mounts.c); settings of the network; the device
 *   5. the keeper; then the descriptors go to the engine
 *   6. "go": no_new_privs, the terminal's process group, exec
 *
 * Why a user namespace for root, too: a process with CAP_SYS_ADMIN outside could simply go back (setns). What is left of
 * a user's capabilities inside vanishes with exec; root keeps those over its own namespaces.
 *
 * The keeper exists because a connection whose device is gone waits for its peer in silence. It can be killed by the
 * command; then programs wait for their own timeouts, no packet leaves either way.
 */
#include "tools/mixify/netns.h"

#include "shim/guard/inherited.h"
#include "stack/tun/netlink.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAP_MAX      4096
#define SWEEPS       5   /* of the keeper: a connection may be made while the device vanishes */
#define SWEEP_PERIOD 200 /* ms */

enum step {
    STEP_UNSHARE,
    STEP_MAPPED,
    STEP_MOUNTS,
    STEP_OPEN_TUN,
    STEP_MAKE_TUN,
    STEP_NETLINK,
    STEP_KEEPER,
    STEP_READY
};

struct report {
    int step, error; /* 0: done */
};

bool netns_wanted(const struct options *options)
{
    return options->verb == VERB_RUN && options->config.guard == SMX_GUARD_NETNS;
}

static enum smx_err cannot(struct smx_fault *fault, const struct report *report)
{
    static const char *const texts[] = {
        [STEP_UNSHARE] = ("no user namespaces here (%s): see sysctl user.max_user_namespaces, "
                          "kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns"),
        [STEP_MAPPED] = "the user cannot be mapped (%s)",
        [STEP_MOUNTS] = "no mounts (%s): a container, or kernel.apparmor_restrict_unprivileged_userns, forbids them",
        [STEP_OPEN_TUN] = "/dev/net/tun cannot be opened (%s): load the tun module, or give this user access to it",
        [STEP_MAKE_TUN] = "a TUN device cannot be made (%s): see sysctl kernel.apparmor_restrict_unprivileged_userns",
        [STEP_NETLINK] = "no netlink sockets (%s)",
        [STEP_KEEPER] = "no processes (%s)",
        [STEP_READY] = "the process inside ended (%s)",
    };
    char why[sizeof(fault->text) - 40];
    snprintf(why, sizeof(why), texts[report->step], strerror(report->error));
    return smx_fail(fault, SMX_E_UNSUPPORTED, "--guard netns: %s; or use --guard seccomp", why);
}

/* --- inside: the keeper ------------------------------------------------------------------------------------------- */

static void keep(int lifeline, int diag)
{
    const struct timespec pause = {.tv_nsec = SWEEP_PERIOD * 1000000L};
    char byte;
    while (read(lifeline, &byte, 1) < 0 && errno == EINTR)
        ;
    for (int i = 0; i < SWEEPS; i++) {
        smx_netlink_abort(diag, NULL, true);
        nanosleep(&pause, NULL);
    }
}

/* Not the command's child, but its aunt: forked twice, so that the engine inherits it. */
static int start_keeper(int lifeline)
{
    sigset_t all;
    pid_t between = fork();
    if (between < 0)
        return errno;
    if (between > 0)
        return waitpid(between, NULL, 0) == between ? 0 : errno;
    int diag = smx_netlink_open(NETLINK_SOCK_DIAG);
    if (diag < 0 || fork() != 0)
        _exit(0);
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    setsid();
    prctl(PR_SET_NAME, "mixify-keeper");
    if (chdir("/") == 0 && dup2(lifeline, 0) == 0 && dup2(diag, 1) == 1 && syscall(SYS_close_range, 2, ~0u, 0) == 0)
        keep(0, 1);
    _exit(0);
}

/* --- inside: the network ------------------------------------------------------------------------------------------ */

static void set(const char *name, const char *value)
{
    char path[128];
    snprintf(path, sizeof(path), "/proc/sys/net/%s", name);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    ssize_t n = write(fd, value, strlen(value));
    (void)n; /* an older kernel, or a read-only /proc: it works without, if slower */
    close(fd);
}

/*
 * For a path that is long and shuffles, but loses little that it does not deliver later:
 *
 *   congestion_control     BBR where the machine allows it, since it does not slow down for a segment that only came late
 *   recovery, reordering   upwards nobody puts segments back in order, and the far end's selective acks show them shuffled
 *                     by several mean hop delays. RACK (bit 0 of recovery) waits an eighth of the round trip, then calls
 *                     them lost; without it 300 have to come before. Since Linux 6.15 it cannot be switched off any more:
 *                     3 % of an upload is sent twice.
 *   timestamps        a repeated segment is newer than what was sent before it and still is on its way; by its timestamp
 *                     the kernel then drops those as old (PAWS). With 1 % loss that was a download's half speed.
 *   no_metrics_save   what one connection met says nothing about the next one's time or room
 *   slow_start_after_idle  idle time does not make the tunnel forget its capacity
 *   rmem              the windows that far ends may fill. The first one is small, then the kernel gives twice what a round
 *                     trip brings, up to what covers 230 kB/s and 0.5 s when shaped, else 2 MB/s and 1 s. More would wait at
 *                     the exit for SURBs, before whatever comes next. Nearly half of it is bookkeeping.
 *   wmem              what a program may leave behind when it ends: mixify waits 10 s for it
 */
static void tune(bool shaped)
{
    static const char *const settings[][2] = {
        {"ipv4/tcp_congestion_control", "bbr"},
        {"ipv4/tcp_timestamps", "0"},
        {"ipv4/tcp_no_metrics_save", "1"},
        {"ipv4/tcp_slow_start_after_idle", "0"},
        {"ipv4/tcp_recovery", "0"},
        {"ipv4/tcp_max_reordering", "1000"},
        {"ipv4/tcp_reordering", "300"},
        {"ipv4/conf/all/accept_redirects", "0"},
        {"ipv4/conf/" SMX_TUN_NAME "/accept_redirects", "0"},
        {"ipv6/conf/" SMX_TUN_NAME "/accept_redirects", "0"},
        {"ipv6/conf/" SMX_TUN_NAME "/accept_ra", "0"},
        {"ipv6/conf/" SMX_TUN_NAME "/addr_gen_mode", "1"}, /* no address of its own making */
        {"ipv4/ip_unprivileged_port_start", "0"},          /* the ports are the command's alone */
    };
    char groups[32];
    for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++)
        set(settings[i][0], settings[i][1]);
    set("ipv4/tcp_rmem", shaped ? "4096 65536 196608" : "4096 262144 4194304");
    set("ipv4/tcp_wmem", shaped ? "4096 65536 196608" : "4096 262144 4194304");
    snprintf(groups, sizeof(groups), "%u %u", (unsigned)getegid(), (unsigned)getegid());
    set("ipv4/ping_group_range", groups); /* ping without privileges, which nobody gains here */
}

static int make_device(int *device, enum step *step)
{
    struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI};
    memcpy(request.ifr_name, SMX_TUN_NAME, sizeof(SMX_TUN_NAME));
    *step = STEP_OPEN_TUN;
    *device = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (*device < 0)
        return errno;
    *step = STEP_MAKE_TUN;
    return ioctl(*device, TUNSETIFF, &request) ? errno : 0;
}

/* --- inside: the process ------------------------------------------------------------------------------------------ */

static bool tell(int link, enum step step, int error, const struct smx_tun_fds *fds)
{
    uint8_t control[CMSG_SPACE(sizeof(*fds))] __attribute__((aligned(8))) = {0};
    struct report report = {.step = (int)step, .error = error};
    struct iovec iov = {&report, sizeof(report)};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
    if (fds) {
        m.msg_control = control;
        m.msg_controllen = sizeof(control);
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        *c = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(*fds)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
        memcpy(CMSG_DATA(c), fds, sizeof(*fds));
    }
    return sendmsg(link, &m, MSG_NOSIGNAL) == (ssize_t)sizeof(report);
}

/* False: the engine's process has gone, or has given up. */
static bool told(int link)
{
    char byte;
    ssize_t n;
    while ((n = recv(link, &byte, 1, 0)) < 0 && errno == EINTR)
        ;
    return n == 1;
}

static int furnish(const struct options *options, int lifeline, struct smx_tun_fds *fds, enum step *step)
{
    *step = STEP_MOUNTS;
    int error = netns_mounts(&options->config);
    if (!error)
        error = make_device(&fds->device, step);
    if (error)
        return error;
    tune(options->config.poisson);
    *step = STEP_NETLINK;
    fds->route = smx_netlink_open(NETLINK_ROUTE);
    fds->diag = smx_netlink_open(NETLINK_SOCK_DIAG);
    if (fds->route < 0 || fds->diag < 0)
        return errno;
    *step = STEP_KEEPER;
    return start_keeper(lifeline);
}

static _Noreturn void inside(const struct options *options, pid_t group, char **environment, int link, int lifeline)
{
    struct smx_tun_fds fds = {-1, -1, -1};
    enum step step = STEP_UNSHARE;
    smx_guard_close_inherited();
    int error = unshare(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWNS) ? errno : 0;
    if (!tell(link, STEP_UNSHARE, error, NULL) || error || !told(link))
        _exit(EXIT_TUNNEL);
    error = furnish(options, lifeline, &fds, &step);
    if (!tell(link, error ? step : STEP_READY, error, error ? NULL : &fds) || error)
        _exit(EXIT_TUNNEL);
    close(fds.device);
    close(fds.route);
    close(fds.diag);
    if (!told(link) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        _exit(EXIT_TUNNEL);
    command_foreground(group);
    _exit(command_exec(options->command, environment));
}

/* --- outside ------------------------------------------------------------------------------------------------------ */

static bool write_file(pid_t pid, const char *name, const char *text)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool done = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    int error = errno;
    if (fd >= 0)
        close(fd);
    errno = error;
    return done;
}

/* Every id that we have, to itself. */
static bool full_map(pid_t pid, const char *name)
{
    char map[MAP_MAX] = "";
    size_t at = 0;
    unsigned inner, outer, count;
    char path[32];
    snprintf(path, sizeof(path), "/proc/self/%s", name);
    FILE *file = fopen(path, "re");
    while (file && fscanf(file, "%u %u %u", &inner, &outer, &count) == 3 && at < sizeof(map) - 40)
        at += (size_t)sprintf(map + at, "%u %u %u\n", inner, inner, count);
    if (file)
        fclose(file);
    return at && write_file(pid, name, map);
}

static bool single_map(pid_t pid, const char *name, unsigned id)
{
    char map[40];
    snprintf(map, sizeof(map), "%u %u 1\n", id, id);
    return write_file(pid, name, map);
}

/* Who is not allowed to map more than themselves must give up setgroups(2) first (user_namespaces(7)). */
static bool write_maps(pid_t pid)
{
    if (geteuid() == 0 && full_map(pid, "gid_map"))
        return full_map(pid, "uid_map") || single_map(pid, "uid_map", 0);
    return write_file(pid, "setgroups", "deny") && single_map(pid, "gid_map", getegid()) &&
           single_map(pid, "uid_map", geteuid());
}

static bool receive(int link, struct report *report, struct smx_tun_fds *fds)
{
    uint8_t control[CMSG_SPACE(sizeof(*fds))] __attribute__((aligned(8)));
    struct iovec iov = {report, sizeof(*report)};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
    ssize_t n;
    while ((n = recvmsg(link, &m, MSG_CMSG_CLOEXEC)) < 0 && errno == EINTR)
        ;
    if (n != (ssize_t)sizeof(*report) || report->step < 0 || report->step > STEP_READY) {
        *report = (struct report){.step = STEP_READY, .error = ECHILD};
        return false;
    }
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    if (c && c->cmsg_type == SCM_RIGHTS && c->cmsg_len == CMSG_LEN(sizeof(*fds)))
        memcpy(fds, CMSG_DATA(c), sizeof(*fds));
    else if (report->step == STEP_READY)
        *report = (struct report){.step = STEP_NETLINK, .error = EMFILE};
    return !report->error;
}

static enum smx_err follow(struct netns *netns, struct smx_fault *fault)
{
    struct report report;
    if (!receive(netns->link, &report, &netns->fds))
        return cannot(fault, &report);
    if (!write_maps(netns->command)) {
        report = (struct report){.step = STEP_MAPPED, .error = errno};
        return cannot(fault, &report);
    }
    if (!netns_start(netns) || !receive(netns->link, &report, &netns->fds))
        return cannot(fault, &report);
    return SMX_OK;
}

enum smx_err netns_prepare(struct netns *netns, const struct options *options, pid_t group, struct smx_fault *fault)
{
    char **environment = command_environment(options, NULL, NULL, NULL);
    int link[2], life[2];
    if (!environment || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, link) || pipe2(life, O_CLOEXEC))
        return smx_fail(fault, SMX_E_IO, "out of memory or descriptors");
    prctl(PR_SET_CHILD_SUBREAPER, 1); /* the keeper comes to us */
    *netns = (struct netns){.link = link[0], .lifeline = life[1], .fds = {-1, -1, -1}};
    fflush(NULL);
    netns->command = fork();
    if (netns->command < 0)
        return smx_fail(fault, SMX_E_IO, "cannot start a process: %s", strerror(errno));
    if (netns->command == 0) {
        close(link[0]);
        close(life[1]);
        inside(options, group, environment, link[1], life[0]);
    }
    close(link[1]);
    close(life[0]);
    return follow(netns, fault);
}

bool netns_start(struct netns *netns)
{
    return send(netns->link, "", 1, MSG_NOSIGNAL) == 1;
}
