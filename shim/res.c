/*
 * The res_ functions: DNS messages through the tunnel. A query is made here, sent by the engine to the resolvers of the
 * tunnel, and the answer given back as it is. The host's resolv.conf has no say: no search list, so res_search is
 * res_query. Libc exports each function under two names.
 */
#include "shim/resolve.h"

#include <arpa/nameser.h>
#include <resolv.h>
#include <string.h>

#define QUERY_MAX (NS_HFIXEDSZ + NS_MAXCDNAME + NS_QFIXEDSZ)

static int fail(int error)
{
    h_errno = error;
    return -1;
}

/* Labels with their lengths; 0: not a name. */
static size_t encode_name(uint8_t out[static NS_MAXCDNAME], const char *name)
{
    size_t len = 0;

    while (*name && strcmp(name, ".") != 0) {
        size_t label = strcspn(name, ".");
        if (label == 0 || label > NS_MAXLABEL || len + label + 2 > NS_MAXCDNAME)
            return 0;
        out[len++] = (uint8_t)label;
        memcpy(out + len, name, label);
        len += label;
        name += label;
        if (*name == '.')
            name++;
    }
    out[len++] = 0;
    return len;
}

static size_t make_query(uint8_t out[static QUERY_MAX], const char *name, int class, int type)
{
    static const uint8_t header[NS_HFIXEDSZ] = {0, 0, 1 /* recursion desired */, 0, 0, 1 /* question */};
    uint16_t fields[2] = {htons((uint16_t)type), htons((uint16_t) class)};

    memcpy(out, header, sizeof(header));
    smx_scatter(out, 2);
    size_t len = encode_name(out + NS_HFIXEDSZ, name);
    if (!len)
        return 0;
    memcpy(out + NS_HFIXEDSZ + len, fields, sizeof(fields));
    return NS_HFIXEDSZ + len + sizeof(fields);
}

/* The length of the answer, of which what fits is copied; or EAI_*. */
static int exchange(const uint8_t *query, size_t len, uint8_t *answer, int room)
{
    struct smx_control_reply reply;

    int r = smx_query(query, len, &reply);
    if (r)
        return r;
    if (reply.len < NS_HFIXEDSZ)
        return EAI_AGAIN;
    memcpy(answer, reply.data, reply.len < room ? reply.len : (size_t)(room < 0 ? 0 : room));
    return reply.arg > reply.len && reply.arg <= NS_MAXMSG ? (int)reply.arg : reply.len;
}

static int query(const char *name, int class, int type, uint8_t *answer, int room)
{
    uint8_t message[QUERY_MAX], head[NS_HFIXEDSZ];

    size_t len = make_query(message, name, class, type);
    if (!len)
        return fail(NO_RECOVERY);
    int n = exchange(message, len, answer, room);
    if (n < 0)
        return fail(smx_h_errno(n));
    if (room < NS_HFIXEDSZ)
        return fail(NO_RECOVERY);
    memcpy(head, answer, sizeof(head));
    switch (head[3] & 15) {
    case ns_r_noerror:
        return head[6] || head[7] ? n : fail(NO_DATA);
    case ns_r_nxdomain:
        return fail(HOST_NOT_FOUND);
    case ns_r_servfail:
        return fail(TRY_AGAIN);
    default:
        return fail(NO_RECOVERY);
    }
}
EXPORT(query, res_query);
EXPORT(query, __res_query);
EXPORT(query, res_search);
EXPORT(query, __res_search);

static int query_domain(const char *name, const char *domain, int class, int type, uint8_t *answer, int room)
{
    char full[NS_MAXDNAME];
    size_t name_len = strlen(name), domain_len = domain ? strlen(domain) : 0;

    if (!domain)
        return query(name, class, type, answer, room);
    if (name_len + 1 + domain_len >= sizeof(full))
        return fail(NO_RECOVERY);
    memcpy(full, name, name_len);
    full[name_len] = '.';
    memcpy(full + name_len + 1, domain, domain_len + 1);
    return query(full, class, type, answer, room);
}
EXPORT(query_domain, res_querydomain);
EXPORT(query_domain, __res_querydomain);

static int send_query(const uint8_t *message, int len, uint8_t *answer, int room)
{
    if (len < NS_HFIXEDSZ || room < NS_HFIXEDSZ) {
        errno = EINVAL;
        return -1;
    }
    int n = exchange(message, (size_t)len, answer, room);
    if (n >= 0)
        return n;
    errno = n == EAI_AGAIN ? ETIMEDOUT : ECONNREFUSED;
    return -1;
}
EXPORT(send_query, res_send);
EXPORT(send_query, __res_send);

/* --- with a state of the caller's: its servers and options do not count ------------------------------------------- */

static int keep_error(res_state state, int n)
{
    if (n < 0 && state)
        state->res_h_errno = h_errno;
    return n;
}

static int n_query(res_state state, const char *name, int class, int type, uint8_t *answer, int room)
{
    return keep_error(state, query(name, class, type, answer, room));
}
EXPORT(n_query, res_nquery);
EXPORT(n_query, __res_nquery);
EXPORT(n_query, res_nsearch);
EXPORT(n_query, __res_nsearch);

static int n_query_domain(res_state state, const char *name, const char *domain, int class, int type, uint8_t *answer,
                          int room)
{
    return keep_error(state, query_domain(name, domain, class, type, answer, room));
}
EXPORT(n_query_domain, res_nquerydomain);
EXPORT(n_query_domain, __res_nquerydomain);

static int n_send(res_state state, const uint8_t *message, int len, uint8_t *answer, int room)
{
    (void)state;
    return send_query(message, len, answer, room);
}
EXPORT(n_send, res_nsend);
EXPORT(n_send, __res_nsend);
