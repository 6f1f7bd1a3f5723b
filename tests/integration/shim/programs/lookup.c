/* The functions that look up names, one line per answer. */
#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <resolv.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static void print_address(const struct sockaddr *a)
{
    char text[INET6_ADDRSTRLEN];
    const struct sockaddr_in *in = (const void *)a;
    const struct sockaddr_in6 *in6 = (const void *)a;

    inet_ntop(a->sa_family, a->sa_family == AF_INET ? (const void *)&in->sin_addr : (const void *)&in6->sin6_addr, text,
              sizeof(text));
    printf(" %s/%d", text, ntohs(in->sin_port));
    if (a->sa_family == AF_INET6 && in6->sin6_scope_id)
        printf("%%%u", in6->sin6_scope_id);
}

static void info(const char *node, const char *service, int family, int type, int protocol, int flags)
{
    struct addrinfo hints = {.ai_family = family, .ai_socktype = type, .ai_protocol = protocol, .ai_flags = flags};
    struct addrinfo *result = NULL;

    errno = 0;
    int r = getaddrinfo(node, service, &hints, &result);
    printf("getaddrinfo %s %s %d %d %d %x: %d", node ? node : "-", service ? service : "-", family, type, protocol,
           (unsigned)flags, r);
    for (struct addrinfo *a = result; a; a = a->ai_next) {
        print_address(a->ai_addr);
        printf(",%d,%d", a->ai_socktype, a->ai_protocol);
        if (a->ai_canonname)
            printf(",%s", a->ai_canonname);
    }
    printf("\n");
    if (result)
        freeaddrinfo(result);
}

/* The same natively and preloaded. */
static void numeric(void)
{
    static const char *const services[] = {"80",   "http", "nope", "ntp", "domain", "99999",
                                           "0x50", " 80",  "80x",  "",    "*",      NULL};
    static const char *const nodes[] = {"127.0.0.1", "1.2", "0x7f.1",     "017.1", "1.2.3.4 ",       "256.1.1.1",
                                        "::1",       "::",  "fe80::1%lo", "::1%1", "::ffff:1.2.3.4", "1::2::3",
                                        "1.2.3.4.",  ""};
    static const int families[] = {AF_UNSPEC, AF_INET, AF_INET6, 99};

    for (int i = 0; services[i]; i++)
        for (int type = 0; type <= SOCK_RAW; type++)
            info("127.0.0.1", services[i], 0, type, 0, 0);
    for (size_t i = 0; i < sizeof(nodes) / sizeof(nodes[0]); i++)
        for (size_t f = 0; f < sizeof(families) / sizeof(families[0]); f++) {
            info(nodes[i], "80", families[f], SOCK_STREAM, 0, AI_NUMERICHOST);
            info(nodes[i], NULL, families[f], SOCK_STREAM, 0, AI_NUMERICHOST | AI_V4MAPPED | AI_CANONNAME);
        }
    for (size_t f = 0; f < 4; f++) {
        info(NULL, "80", families[f], SOCK_STREAM, 0, 0);
        info(NULL, "80", families[f], SOCK_STREAM, 0, AI_PASSIVE);
    }
    info(NULL, NULL, 0, 0, 0, 0);
    info("*", "80", 0, SOCK_STREAM, 0, 0);
    info(NULL, "80", 0, SOCK_STREAM, IPPROTO_UDP, 0);
    info(NULL, "80", 0, 0, IPPROTO_UDP, 0);
    info(NULL, "80", 0, SOCK_RAW, 89, 0);
    info(NULL, "80", 0, 77, 0, 0);
    info("127.0.0.1", "http", 0, SOCK_STREAM, 0, AI_NUMERICSERV);
    info(NULL, "80", 0, SOCK_STREAM, 0, AI_CANONNAME);
    info("127.0.0.1", "80", 0, SOCK_STREAM, 0, 0x4000);
    info("name.invalid", "80", 0, SOCK_STREAM, 0, AI_NUMERICHOST);
}

static void name_of(const char *ip, int port, int flags, socklen_t room)
{
    struct sockaddr_in6 a = {.sin6_family = strchr(ip, ':') ? AF_INET6 : AF_INET, .sin6_port = htons((uint16_t)port)};
    char host[NI_MAXHOST] = "", service[NI_MAXSERV] = "";

    inet_pton(a.sin6_family, ip,
              a.sin6_family == AF_INET ? (void *)&((struct sockaddr_in *)&a)->sin_addr : (void *)&a.sin6_addr);
    int r = getnameinfo((struct sockaddr *)&a, a.sin6_family == AF_INET ? 16 : 28, host, room, service, sizeof(service),
                        flags);
    printf("getnameinfo %s %d %x: %d %s %s\n", ip, port, (unsigned)flags, r, r ? "-" : host, r ? "-" : service);
}

static void numeric_names(void)
{
    name_of("1.2.3.4", 80, NI_NUMERICHOST, NI_MAXHOST);
    name_of("1.2.3.4", 53, NI_NUMERICHOST | NI_DGRAM, NI_MAXHOST);
    name_of("1.2.3.4", 80, NI_NUMERICHOST | NI_NUMERICSERV, NI_MAXHOST);
    name_of("1.2.3.4", 80, NI_NUMERICHOST, 4);
    name_of("2001:db8::1", 65000, NI_NUMERICHOST, NI_MAXHOST);
    name_of("::ffff:1.2.3.4", 80, NI_NUMERICHOST, NI_MAXHOST);
    name_of("1.2.3.4", 80, 0x8000, NI_MAXHOST);
    struct sockaddr a = {.sa_family = AF_INET};
    char host[8];
    printf("getnameinfo, short: %d\n", getnameinfo(&a, 8, host, sizeof(host), NULL, 0, NI_NUMERICHOST));
    printf("getnameinfo, nothing: %d\n", getnameinfo(&a, 16, NULL, 0, NULL, 0, 0));
}

static void host(const struct hostent *h)
{
    char text[INET6_ADDRSTRLEN];

    if (!h) {
        printf("h_errno %d\n", h_errno);
        return;
    }
    printf("%s type %d length %d aliases %d:", h->h_name, h->h_addrtype, h->h_length, h->h_aliases[0] != NULL);
    for (char **a = h->h_addr_list; *a; a++)
        printf(" %s", inet_ntop(h->h_addrtype, *a, text, sizeof(text)));
    printf("\n");
}

static void reentrant(const char *name, size_t room)
{
    struct hostent h, *result = &h;
    char buffer[4096];
    int error = 77;

    h_errno = 0;
    int r = gethostbyname_r(name, &h, buffer, room, &result, &error);
    printf("gethostbyname_r %s %zu: %d, %s, error %d, h_errno %d\n", name, room, r, result ? "found" : "NULL", error,
           h_errno);
}

static void query(const char *name, int type, int room)
{
    unsigned char answer[512];
    ns_msg m;

    int n = res_query(name, ns_c_in, type, answer, room);
    printf("res_query %s %d: %s", name, type, n < 0 ? "-1" : "answer");
    if (n < 0)
        printf(", h_errno %d", h_errno);
    else if (ns_initparse(answer, n, &m) == 0)
        printf(", %d of %d", ns_msg_count(m, ns_s_an), room);
    printf("\n");
}

static void tunnel(void)
{
    static const char *const names[] = {"www.lab",    "hello.lab",   "four.lab",      "six.lab",         "canon.lab",
                                        "many.lab",   "again.lab",   "fail.lab",      "nowhere.invalid", "localhost",
                                        "LocalHost.", "a.localhost", "x.notlocalhost"};
    struct __res_state state = {0};
    unsigned char answer[512], message[512];
    struct in_addr ip = {htonl(0xc6120001)}, other = {htonl(0x01020304)};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        info(names[i], "80", AF_UNSPEC, SOCK_STREAM, 0, AI_ADDRCONFIG);
        info(names[i], "80", AF_INET, SOCK_STREAM, 0, AI_CANONNAME);
        info(names[i], "80", AF_INET6, SOCK_STREAM, 0, 0);
        info(names[i], "80", AF_INET6, SOCK_STREAM, 0, AI_V4MAPPED);
        info(names[i], "80", AF_INET6, SOCK_STREAM, 0, AI_V4MAPPED | AI_ALL);
    }
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        printf("gethostbyname %s: ", names[i]);
        host(gethostbyname(names[i]));
        printf("gethostbyname2 %s: ", names[i]);
        host(gethostbyname2(names[i], AF_INET6));
    }
    host(gethostbyname("1.2.3.4"));
    host(gethostbyaddr(&ip, 4, AF_INET));
    host(gethostbyaddr(&other, 4, AF_INET));
    reentrant("www.lab", 4096);
    reentrant("www.lab", 20);
    reentrant("nowhere.invalid", 4096);
    reentrant("again.lab", 4096);
    name_of("198.18.0.1", 80, 0, NI_MAXHOST);
    name_of("198.18.0.1", 80, 0, 4);
    name_of("1.2.3.4", 80, 0, NI_MAXHOST);
    name_of("1.2.3.4", 80, NI_NAMEREQD, NI_MAXHOST);
    name_of("127.0.0.1", 80, 0, NI_MAXHOST);
    query("www.lab", ns_t_a, 512);
    query("www.lab", ns_t_a, 20);
    query("www.lab.", ns_t_a, 512);
    query("nowhere.invalid", ns_t_a, 512);
    query("bad..name", ns_t_a, 512);
    res_ninit(&state);
    printf("res_nquery: %d\n", res_nquery(&state, "www.lab", ns_c_in, ns_t_a, answer, sizeof(answer)) > 0);
    int n = res_nsearch(&state, "nowhere.invalid", ns_c_in, ns_t_a, answer, sizeof(answer));
    printf("res_nsearch: %d, %d\n", n, state.res_h_errno);
    printf("res_querydomain: %d\n", res_querydomain("www", "lab", ns_c_in, ns_t_a, answer, sizeof(answer)) > 0);
    n = res_mkquery(ns_o_query, "www.lab", ns_c_in, ns_t_a, NULL, 0, NULL, message, sizeof(message));
    printf("res_send: %d\n", res_send(message, n, answer, sizeof(answer)) > 0 && answer[0] == message[0]);
    struct gaicb job = {.ar_name = "www.lab"}, *jobs[] = {&job};
    errno = 0;
    int r = getaddrinfo_a(GAI_WAIT, jobs, 1, NULL);
    printf("getaddrinfo_a: %d %s\n", r, strerrorname_np(errno));
}

int main(int argc, char **argv)
{
    numeric();
    numeric_names();
    if (argc > 1 && strcmp(argv[1], "tunnel") == 0)
        tunnel();
    return 0;
}
