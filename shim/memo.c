/*
 * What this process remembers about its sockets by their id: options set so far, the address bound before connecting,
 * whether connect(2) still owes the program the end of an attempt, and epoll instances that watch the socket. A cache
 * with a fixed number of places: what is pushed out, or was remembered by another process, reads as never set; the
 * engine has what matters for a connection.
 *
 * No locks (signal handlers, fork in a threaded program): a place belongs to the id stored in it, every field is an
 * atomic. Two threads that use the same new socket at the same moment may lose one option; no program does.
 */
#include "shim/shim.h"

#include <stdatomic.h>
#include <string.h>

#define SETS 256
#define WAYS 4
#define BUSY 1 /* the id of a place that is being cleared */

struct memo {
    _Atomic uint64_t id; /* 0: free */
    _Atomic uint64_t set;
    _Atomic int value[SMX_MEMO_VALUES];
    _Atomic bool pending;
    _Atomic uint32_t bound; /* family << 16 | port; 0: not bound */
    _Atomic uint32_t scope;
    _Atomic uint64_t ip[2];
    struct {
        _Atomic int epoll; /* descriptor + 1; 0: free */
        _Atomic uint32_t events;
        _Atomic uint64_t data;
    } watch[SMX_WATCHES];
};

static struct memo memos[SETS][WAYS];
static _Atomic unsigned victim;

static uint64_t key(const uint8_t id[static SMX_SOCKET_ID_LEN])
{
    uint64_t k;
    memcpy(&k, id, sizeof(k));
    return k <= BUSY ? k + 2 : k;
}

static struct memo *find(const uint8_t id[static SMX_SOCKET_ID_LEN])
{
    uint64_t k = key(id);
    struct memo *set = memos[k % SETS];

    for (int i = 0; i < WAYS; i++)
        if (set[i].id == k)
            return &set[i];
    return NULL;
}

static struct memo *make(const uint8_t id[static SMX_SOCKET_ID_LEN])
{
    uint64_t k = key(id), old = 0;
    struct memo *set = memos[k % SETS], *m = find(id);

    if (m)
        return m;
    for (int i = 0; i < WAYS && !m; i++)
        if (set[i].id == 0)
            m = &set[i];
    if (!m) {
        m = &set[victim++ % WAYS];
        old = m->id;
    }
    if (old == BUSY || !atomic_compare_exchange_strong(&m->id, &old, BUSY))
        return NULL;
    m->set = 0;
    m->pending = false;
    m->bound = 0;
    for (int i = 0; i < SMX_WATCHES; i++)
        m->watch[i].epoll = 0;
    m->id = k;
    return m;
}

bool smx_memo_get(const uint8_t id[static SMX_SOCKET_ID_LEN], unsigned slot, int *value)
{
    struct memo *m = find(id);

    if (!m || !(m->set >> slot & 1))
        return false;
    *value = m->value[slot];
    return true;
}

void smx_memo_set(const uint8_t id[static SMX_SOCKET_ID_LEN], unsigned slot, int value)
{
    struct memo *m = make(id);

    if (!m)
        return;
    m->value[slot] = value;
    m->set |= (uint64_t)1 << slot;
}

bool smx_memo_bound(const uint8_t id[static SMX_SOCKET_ID_LEN], struct smx_control_addr *local)
{
    struct memo *m = find(id);
    uint32_t bound = m ? m->bound : 0;

    *local = (struct smx_control_addr){0};
    if (!bound)
        return false;
    local->family = (uint8_t)(bound >> 16);
    local->port = (uint16_t)bound;
    local->scope = m->scope;
    uint64_t ip[2] = {m->ip[0], m->ip[1]};
    memcpy(local->ip, ip, sizeof(ip));
    return true;
}

void smx_memo_bind(const uint8_t id[static SMX_SOCKET_ID_LEN], const struct smx_control_addr *local)
{
    struct memo *m = make(id);
    uint64_t ip[2];

    if (!m)
        return;
    memcpy(ip, local->ip, sizeof(ip));
    m->ip[0] = ip[0];
    m->ip[1] = ip[1];
    m->scope = local->scope;
    m->bound = (uint32_t)local->family << 16 | local->port;
}

void smx_memo_move(const uint8_t from[static SMX_SOCKET_ID_LEN], const uint8_t to[static SMX_SOCKET_ID_LEN])
{
    struct memo *old = find(from), *new = old ? make(to) : NULL;

    if (!new)
        return;
    for (int i = 0; i < SMX_MEMO_VALUES; i++)
        new->value[i] = old->value[i];
    new->scope = old->scope;
    new->ip[0] = old->ip[0];
    new->ip[1] = old->ip[1];
    new->set = old->set;
    new->bound = old->bound;
    for (int i = 0; i < SMX_WATCHES; i++) {
        new->watch[i].events = old->watch[i].events;
        new->watch[i].data = old->watch[i].data;
        new->watch[i].epoll = old->watch[i].epoll;
    }
    old->id = 0;
}

void smx_memo_set_pending(const uint8_t id[static SMX_SOCKET_ID_LEN], bool pending)
{
    struct memo *m = pending ? make(id) : find(id);

    if (m)
        m->pending = pending;
}

bool smx_memo_pending(const uint8_t id[static SMX_SOCKET_ID_LEN])
{
    struct memo *m = find(id);

    return m && m->pending;
}

void smx_memo_watch(const uint8_t id[static SMX_SOCKET_ID_LEN], const struct smx_watch *watch, bool on)
{
    struct memo *m = on ? make(id) : find(id);
    int place = -1;

    for (int i = 0; m && i < SMX_WATCHES; i++) {
        if (m->watch[i].epoll == watch->epoll + 1)
            m->watch[i].epoll = 0;
        if (m->watch[i].epoll == 0 && place < 0)
            place = i;
    }
    if (!on || place < 0)
        return;
    m->watch[place].events = watch->events;
    m->watch[place].data = watch->data;
    m->watch[place].epoll = watch->epoll + 1;
}

int smx_memo_watches(const uint8_t id[static SMX_SOCKET_ID_LEN], struct smx_watch out[static SMX_WATCHES])
{
    struct memo *m = find(id);
    int n = 0;

    for (int i = 0; m && i < SMX_WATCHES; i++) {
        int epoll = m->watch[i].epoll;
        if (epoll)
            out[n++] = (struct smx_watch){epoll - 1, m->watch[i].events, m->watch[i].data};
    }
    return n;
}
