/*
 * Name lookup with the host's settings: a network namespace of our own with its own hosts file and name server. Each
 * test runs in a child, because a process with threads (criterion's) cannot enter a user namespace.
 */
#include "stack/net/resolve.h"
#include "stack/net/stream.h"
#include "tests/support/peer.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static struct smx_loop *loop;
static struct smx_source name_server;
static unsigned queries;

/* --- the namespace ------------------------------------------------------------------------------------------------ */

static bool put(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0)
        close(fd);
    return ok;
}

static bool replace(const char *path, const char *text)
{
    char file[] = "/tmp/smolmix-names-XXXXXX";
    int fd = mkstemp(file);
    bool ok = fd >= 0 && put(file, text) && !chmod(file, 0644) && !mount(file, path, NULL, MS_BIND, NULL);
    close(fd);
    unlink(file);
    return ok;
}

static bool enter_namespace(void)
{
    char map[64];
    unsigned uid = getuid(), gid = getgid();
    if (unshare(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWNS))
        return false;
    put("/proc/self/setgroups", "deny");
    snprintf(map, sizeof(map), "0 %u 1", uid);
    if (!put("/proc/self/uid_map", map))
        return false;
    snprintf(map, sizeof(map), "0 %u 1", gid);
    if (!put("/proc/self/gid_map", map) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
        return false;
    struct ifreq up = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    bool ok = !ioctl(fd, SIOCSIFFLAGS, &up);
    close(fd);
    return ok && replace("/etc/resolv.conf", "nameserver 127.0.0.1\n") &&
           replace("/etc/hosts", "127.0.0.7 from-hosts\n");
}

/* --- a name server ------------------------------------------------------------------------------------------------ */

/* v4.test and both.test have 127.0.0.8, both.test has ::1 as well, silent.test gets no answer, others do not exist. */
static void answer_query(struct smx_source *source, uint32_t events)
{
    (void)events;
    static const uint8_t v4[] = {0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 8},
                         v6[] = {0xc0, 12, 0, 28, 0, 1, 0, 0, 0, 60, 0, 16, 0, 0,
                                 0,    0,  0, 0,  0, 0, 0, 0, 0, 0,  0, 0,  0, 1};
    uint8_t packet[512];
    struct sockaddr_in from;
    socklen_t from_len = sizeof(from);
    ssize_t n = recvfrom(source->fd, packet, sizeof(packet), 0, (struct sockaddr *)&from, &from_len);
    if (n < 17)
        return;
    queries++;
    size_t end = 12 + strlen((char *)packet + 12) + 5; /* header, question */
    bool v4_test = !memcmp(packet + 12, "\2v4\4test", 9), both = !memcmp(packet + 12, "\4both\4test", 11);
    bool aaaa = packet[end - 3] == 28;
    if (!memcmp(packet + 12, "\6silent", 7))
        return;
    packet[2] = 0x81;
    packet[3] = v4_test || both ? 0x80 : 0x83;
    memset(packet + 6, 0, 6);
    if ((v4_test || both) && !aaaa) {
        packet[7] = 1;
        memcpy(packet + end, v4, sizeof(v4));
        end += sizeof(v4);
    } else if (both) {
        packet[7] = 1;
        memcpy(packet + end, v6, sizeof(v6));
        end += sizeof(v6);
    }
    sendto(source->fd, packet, end, 0, (struct sockaddr *)&from, from_len);
}

#define SKIPPED 77

#define CHECK(condition, ...)                                                                                          \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, #condition);                                            \
            fprintf(stderr, __VA_ARGS__);                                                                              \
            fputc('\n', stderr);                                                                                       \
            _exit(1);                                                                                                  \
        }                                                                                                              \
    } while (0)

static void in_namespace(void (*test)(void))
{
    pid_t pid = fork();
    if (!pid) {
        if (!enter_namespace())
            _exit(SKIPPED);
        struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons(53), .sin_addr.s_addr = htonl(0x7f000001)};
        int fd = socket(AF_INET, SOCK_DGRAM, 0);
        CHECK(!bind(fd, (struct sockaddr *)&addr, sizeof(addr)), "no name server");
        loop = smx_loop_new();
        name_server.ready = answer_query;
        CHECK(!smx_source_add(loop, &name_server, fd, EPOLLIN), "no name server");
        test();
        smx_loop_free(loop);
        _exit(0);
    }
    int status;
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == SKIPPED)
        cr_skip_test("no user namespaces here");
    cr_assert_eq(status, 0);
}

TestSuite(names, .timeout = 30);

/* --- lookups ------------------------------------------------------------------------------------------------------ */

struct outcome {
    bool done;
    unsigned n;
    char text[SMX_LOOKUP_MAX][INET6_ADDRSTRLEN];
    struct smx_fault fault;
};

static void note(void *ctx, const struct smx_ip *ips, unsigned n, const struct smx_fault *fault)
{
    struct outcome *outcome = ctx;
    outcome->done = true;
    outcome->n = n;
    for (unsigned i = 0; i < n; i++)
        inet_ntop(ips[i].ipv6 ? AF_INET6 : AF_INET, ips[i].bytes, outcome->text[i], INET6_ADDRSTRLEN);
    if (fault)
        outcome->fault = *fault;
}

static struct outcome look_up(const char *name)
{
    struct outcome outcome = {0};
    struct smx_lookup *lookup = smx_lookup_new(loop, name, note, &outcome);
    CHECK(!outcome.done, "answered from inside the call");
    while (!outcome.done)
        smx_loop_turn(loop, SMX_NEVER);
    smx_lookup_free(lookup);
    return outcome;
}

static const struct {
    const char *name;
    unsigned n;
    const char *first, *second;
    bool asks; /* the name server is needed */
} names[] = {
    {"127.0.0.9", 1, "127.0.0.9", NULL, false},  {"2001:db8::1", 1, "2001:db8::1", NULL, false},
    {"localhost", 2, "127.0.0.1", "::1", false}, {"from-hosts", 1, "127.0.0.7", NULL, false},
    {"v4.test", 1, "127.0.0.8", NULL, true},     {"both.test", 2, "127.0.0.8", "::1", true},
    {"missing.test", 0, NULL, NULL, true},
};

static void literals_hosts_file_and_name_server(void)
{
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        queries = 0;
        struct outcome outcome = look_up(names[i].name);
        CHECK(outcome.n == names[i].n, "%s: %u addresses, %s", names[i].name, outcome.n, outcome.fault.text);
        CHECK((queries > 0) == names[i].asks, "%s: %u queries", names[i].name, queries);
        if (names[i].first)
            CHECK(!strcmp(outcome.text[0], names[i].first), "%s", outcome.text[0]);
        if (names[i].second)
            CHECK(!strcmp(outcome.text[1], names[i].second), "%s", outcome.text[1]);
        if (!names[i].n)
            CHECK(strstr(outcome.fault.text, names[i].name), "%s", outcome.fault.text);
    }
}

static void cancelled_lookups_leave_nothing(void)
{
    struct outcome outcome = {0};
    smx_lookup_free(smx_lookup_new(loop, "v4.test", note, &outcome));
    smx_lookup_free(smx_lookup_new(loop, "127.0.0.1", note, &outcome));
    for (int i = 0; i < 5; i++)
        smx_loop_turn(loop, smx_loop_now(loop) + 5 * SMX_MS);
    CHECK(!outcome.done, "answered although cancelled");
}

/* --- streams by name ---------------------------------------------------------------------------------------------- */

struct connection {
    bool open, closed;
    struct smx_fault fault;
};

static void on_open(void *ctx)
{
    ((struct connection *)ctx)->open = true;
}

static void on_data(void *ctx, const uint8_t *bytes, size_t len)
{
    (void)ctx;
    (void)bytes;
    (void)len;
}

static void on_drained(void *ctx)
{
    (void)ctx;
}

static void on_closed(void *ctx, const struct smx_fault *fault)
{
    struct connection *connection = ctx;
    connection->closed = true;
    connection->fault = *fault;
}

static const struct smx_stream_ops ops = {on_open, on_data, on_drained, on_closed};

static void one_dead_address_does_not_matter(void)
{
    /* Only ::1 listens; 127.0.0.8 comes first and refuses. */
    struct sockaddr_in6 addr = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    socklen_t len = sizeof(addr);
    int fd = socket(AF_INET6, SOCK_STREAM, 0), on = 1;
    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
    CHECK(!bind(fd, (struct sockaddr *)&addr, sizeof(addr)), "bind");
    CHECK(!listen(fd, 1), "listen");
    CHECK(!getsockname(fd, (struct sockaddr *)&addr, &len), "getsockname");
    struct connection connection = {0};
    struct smx_stream *stream =
        smx_stream_open(loop, "both.test", ntohs(addr.sin6_port), NULL, 5 * SMX_SEC, &ops, &connection);
    while (!connection.open && !connection.closed)
        smx_loop_turn(loop, SMX_NEVER);
    CHECK(connection.open, "%s", connection.fault.text);
    smx_stream_free(stream);
    close(fd);
}

static void a_silent_name_server_runs_into_the_timeout(void)
{
    struct connection connection = {0};
    struct smx_stream *stream = smx_stream_open(loop, "silent.test", 80, NULL, 100 * SMX_MS, &ops, &connection);
    while (!connection.closed)
        smx_loop_turn(loop, SMX_NEVER);
    CHECK(connection.fault.code == SMX_E_TIMEOUT, "%s", connection.fault.text);
    CHECK(strstr(connection.fault.text, "resolving the name"), "%s", connection.fault.text);
    smx_stream_free(stream);
}

Test(names, lookups)
{
    in_namespace(literals_hosts_file_and_name_server);
    in_namespace(cancelled_lookups_leave_nothing);
}

Test(names, streams)
{
    in_namespace(one_dead_address_does_not_matter);
    in_namespace(a_silent_name_server_runs_into_the_timeout);
}
