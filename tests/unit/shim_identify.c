/* Which sockets the shim takes for its own, by their names; and the addresses it lets a kernel socket talk to. */
#include "shim/shim.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *path; /* after the leading zero byte of an abstract name */
    char kind;        /* 0: not ours */
    const char *engine;
} paths[] = {
    {"smolmix-1234.t0123456789abcdef", 't', "smolmix-1234"},
    {"smolmix-up-1000.Tffffffffffffffff", 'T', "smolmix-up-1000"},
    {"smolmix-a.u0000000000000000", 'u', "smolmix-a"},
    {"smolmix-a.U0000000000000000", 'U', "smolmix-a"},
    {"smolmix-a.x0000000000000000", 0, NULL},   /* no such kind */
    {"smolmix-a.t000000000000000", 0, NULL},    /* a digit short */
    {"smolmix-a.t00000000000000000", 0, NULL},  /* a digit more */
    {"smolmix-a.t000000000000000G", 0, NULL},   /* no digit */
    {"smolmix-a.t000000000000000A", 0, NULL},   /* no digit of ours */
    {"smolmix-a-t0000000000000000", 0, NULL},   /* no dot */
    {"smolmix-.t0000000000000000", 0, NULL},    /* an engine without a name */
    {"smolmix-a/b.t0000000000000000", 0, NULL}, /* a character that names do not have */
    {"smolmix-A.t0000000000000000", 0, NULL},
    {"other-a.t0000000000000000", 0, NULL},
    {".t0000000000000000", 0, NULL},
    {"smolmix-a", 0, NULL},
    {"", 0, NULL},
};

Test(shim_identify, names)
{
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        struct smx_address name = {.un = {.sun_family = AF_UNIX}};
        struct smx_socket s;
        memcpy(name.un.sun_path + 1, paths[i].path, strlen(paths[i].path));
        name.len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(paths[i].path));
        smx_classify(&s, &name);
        cr_expect_eq(s.class, paths[i].kind ? SMX_TUNNEL : SMX_FOREIGN, "%s", paths[i].path);
        if (!paths[i].kind)
            continue;
        cr_expect_eq(s.kind, paths[i].kind);
        cr_expect_str_eq(s.engine, paths[i].engine);
    }
}

Test(shim_identify, the_longest_engine_name)
{
    char path[sizeof(((struct sockaddr_un *)0)->sun_path)], engine[SMX_CONTROL_NAME_MAX + 1];

    for (size_t len = SMX_CONTROL_NAME_MAX - 2; len <= SMX_CONTROL_NAME_MAX; len++) {
        struct smx_address name = {.un = {.sun_family = AF_UNIX}};
        struct smx_socket s;
        memset(engine, 'x', len);
        engine[len] = '\0';
        memcpy(engine, "smolmix-", 8);
        int n = snprintf(path, sizeof(path), "%s.t0123456789abcdef", engine);
        memcpy(name.un.sun_path + 1, path, (size_t)n);
        name.len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
        smx_classify(&s, &name);
        cr_expect_eq(s.class, len < SMX_CONTROL_NAME_MAX ? SMX_TUNNEL : SMX_FOREIGN, "%zu", len);
        cr_expect_eq(smx_engine_name_valid(engine), len < SMX_CONTROL_NAME_MAX);
    }
}

Test(shim_identify, a_path_is_not_an_abstract_name)
{
    struct smx_address name = {.un = {.sun_family = AF_UNIX, .sun_path = "/smolmix-a.t0000000000000000"}};
    struct smx_socket s;

    name.len = sizeof(name.un);
    smx_classify(&s, &name);
    cr_expect_eq(s.class, SMX_FOREIGN);
    name.len = sizeof(sa_family_t); /* unnamed */
    smx_classify(&s, &name);
    cr_expect_eq(s.class, SMX_FOREIGN);
}

Test(shim_identify, a_socket_is_what_its_name_says)
{
    struct smx_socket s, made;

    int fd = smx_tunnel_socket('T', SOCK_CLOEXEC, "smolmix-unit", made.id);
    cr_assert_geq(fd, 0);
    cr_assert_eq(smx_identify(fd, &s), 0);
    cr_expect_eq(s.class, SMX_TUNNEL);
    cr_expect(smx_is_ipv6(&s) && smx_is_stream(&s));
    cr_expect_arr_eq(s.id, made.id, sizeof(s.id));
    cr_expect_str_eq(s.engine, "smolmix-unit");
    cr_expect_not(smx_was_connected(fd));
    cr_expect_eq(smx_identify(-1, &s), -EBADF);
    cr_expect_eq(smx_identify(1000, &s), -EBADF);
}

static const struct {
    const char *ip;
    int port, wanted;
} destinations[] = {
    {"127.0.0.1", 80, 0},
    {"127.255.255.254", 80, 0},
    {"0.0.0.0", 80, 0},
    {"::1", 80, 0},
    {"::", 80, 0},
    {"::ffff:127.0.0.1", 80, 0},
    {"::ffff:0.0.0.0", 80, 0},
    {"127.0.0.53", 53, -EACCES},
    {"127.0.0.1", 853, -EACCES},
    {"::1", 53, -EACCES},
    {"0.0.0.0", 53, -EACCES},
    {"128.0.0.1", 80, -ENETUNREACH},
    {"126.255.255.255", 80, -ENETUNREACH},
    {"192.168.1.1", 80, -ENETUNREACH},
    {"255.255.255.255", 80, -ENETUNREACH},
    {"224.0.0.1", 80, -ENETUNREACH},
    {"::2", 80, -ENETUNREACH},
    {"::127.0.0.1", 80, -ENETUNREACH},
    {"::ffff:10.0.0.1", 80, -ENETUNREACH},
    {"fe80::1", 80, -ENETUNREACH},
    {"ff02::1", 80, -ENETUNREACH},
};

static void read_address(struct smx_address *a, const char *ip, int port)
{
    memset(a, 0, sizeof(*a));
    bool ipv6 = strchr(ip, ':');
    a->any.sa_family = ipv6 ? AF_INET6 : AF_INET;
    a->in.sin_port = htons((uint16_t)port);
    a->len = ipv6 ? sizeof(a->in6) : sizeof(a->in);
    inet_pton(a->any.sa_family, ip, ipv6 ? (void *)&a->in6.sin6_addr : (void *)&a->in.sin_addr);
}

Test(shim_identify, kernel_sockets_stay_on_loopback)
{
    for (size_t i = 0; i < sizeof(destinations) / sizeof(destinations[0]); i++) {
        struct smx_address a;
        read_address(&a, destinations[i].ip, destinations[i].port);
        cr_expect_eq(smx_kernel_destination(&a), destinations[i].wanted, "%s %d", destinations[i].ip,
                     destinations[i].port);
        if (destinations[i].wanted == 0)
            cr_expect(smx_address_is_loopback(&a), "%s is rewritten", destinations[i].ip);
        if (a.any.sa_family != AF_INET)
            continue;
        read_address(&a, destinations[i].ip, destinations[i].port);
        a.any.sa_family = AF_UNSPEC; /* which the kernel takes for AF_INET */
        cr_expect_eq(smx_kernel_destination(&a), destinations[i].wanted, "AF_UNSPEC %s", destinations[i].ip);
    }
}

Test(shim_identify, short_and_strange_destinations)
{
    struct smx_address a;

    read_address(&a, "127.0.0.1", 80);
    a.len = sizeof(a.in) - 1;
    cr_expect_eq(smx_kernel_destination(&a), -EINVAL);
    read_address(&a, "::1", 80);
    a.len = sizeof(a.in);
    cr_expect_eq(smx_kernel_destination(&a), -EINVAL);
    read_address(&a, "127.0.0.1", 80);
    a.any.sa_family = AF_UNIX;
    cr_expect_eq(smx_kernel_destination(&a), -EAFNOSUPPORT);
}

Test(shim_identify, addresses_go_to_the_engine_and_back)
{
    static const char *const ips[] = {"1.2.3.4", "2001:db8::1", "::ffff:1.2.3.4"};

    for (size_t i = 0; i < sizeof(ips) / sizeof(ips[0]); i++) {
        struct smx_address a, back;
        struct smx_control_addr c;
        read_address(&a, ips[i], 4711);
        smx_address_to_control(&c, &a);
        cr_expect_eq(c.family, i == 1 ? 6 : 4, "%s", ips[i]);
        cr_expect_eq(c.port, 4711);
        smx_address_from_control(&back, &c, i > 0);
        cr_expect_eq(back.len, a.len);
        cr_expect_arr_eq(&back.room, &a.room, a.len, "%s", ips[i]);
    }
}

Test(shim_identify, bad_pointers_are_errors_and_not_crashes)
{
    struct smx_address a;
    int value = 0;

    cr_expect_eq(smx_address_in(&a, NULL, 16), -EFAULT);
    cr_expect_eq(smx_address_in(&a, (void *)8, 16), -EFAULT);
    cr_expect_eq(smx_address_in(&a, &a, 200), -EINVAL);
    cr_expect_eq(smx_copy_in(&value, (void *)-8, sizeof(value)), -EFAULT);
    cr_expect_eq(smx_copy_out((void *)8, &value, sizeof(value)), -EFAULT);
    cr_expect_eq(smx_copy_in(&value, NULL, 0), 0);
}
