/*
 * What this process remembers about its sockets by their id: options set so far, the address bound before connecting,
 * whether connect(2) still owes the program the end of an attempt, and epoll instances that watch the socket. A cache
 * with a fixed number of places, as many as an engine has flows: what is pushed out, or was remembered by another
 * process, reads as never set; the engine has what matters for a connection.
 *
 * No locks (signal handlers, fork in a threaded program): a place belongs to the id that is stored for it, every field
 * is an atomic. A thread may still be writing into a place that another has just taken for another socket, so every
 * word carries the seal of its id (and of the words that belong to it), and under any other id reads as never set:
 * something may be forgotten, but is never told of the wrong socket. Two threads that use the same new socket at the
 * same moment may lose one option; no program does.
 */
#include "shim/shim.h"

#include <stdatomic.h>
#include <string.h>

#define SETS 512
#define WAYS 8

typedef _Atomic uint64_t sealed; /* seal << 32 | value; 0: not set */

struct memo {
    sealed value[SMX_MEMO_VALUES];
    sealed pending;
    sealed bound;              /* family << 16 | port; sealed with `local` */
    _Atomic uint64_t local[3]; /* address, scope */
    struct {
        sealed epoll;              /* descriptor; sealed with `event` */
        _Atomic uint64_t event[2]; /* events, data */
    } watch[SMX_WATCHES];
};

static struct set {
    _Atomic uint64_t id[WAYS]; /* 0: free */
    struct memo memo[WAYS];
} sets[SETS];
static _Atomic unsigned victim;

/* --- places ------------------------------------------------------------------------------------------------------- */

static uint64_t key(const uint8_t id[static SMX_SOCKET_ID_LEN])
{
    uint64_t k;
    memcpy(&k, id, sizeof(k));
    return k ? k : ~k; /* 0 marks a free place */
}

static struct memo *find(uint64_t k)
{
    struct set *set = &sets[k % SETS];

    for (int i = 0; i < WAYS; i++)
        if (set->id[i] == k)
            return &set->memo[i];
    return NULL;
}

static struct memo *make(uint64_t k)
{
    struct set *set = &sets[k % SETS];
    struct memo *m = find(k);

    if (m)
        return m;
    for (int i = 0; i < WAYS; i++) {
        uint64_t none = 0;
        if (atomic_compare_exchange_strong(&set->id[i], &none, k))
            return &set->memo[i];
    }
    unsigned i = victim++ % WAYS;
    set->id[i] = k;
    return &set->memo[i];
}

/* --- words -------------------------------------------------------------------------------------------------------- */

static uint64_t seal(uint64_t k, uint32_t value, const uint64_t *with, int n)
{
    k *= 0x9e3779b97f4a7c15u;
    for (int i = 0; i < n; i++)
        k = ((k ^ k >> 29) + with[i]) * 0x9e3779b97f4a7c15u;
    return (k >> 32 | 1) << 32 | value;
}

/* False: not set, or of another socket. */
static bool unseal(uint64_t word, uint64_t k, uint32_t *value, const uint64_t *with, int n)
{
    *value = (uint32_t)word;
    return word == seal(k, *value, with, n);
}

/* --- options ------------------------------------------------------------------------------------------------------ */

bool smx_memo_get(const uint8_t id[static SMX_SOCKET_ID_LEN], unsigned slot, int *value)
{
    uint64_t k = key(id);
    struct memo *m = find(k);
    uint32_t found;

    if (!m || !unseal(m->value[slot], k, &found, NULL, 0))
        return false;
    *value = (int)found;
    return true;
}

void smx_memo_set(const uint8_t id[static SMX_SOCKET_ID_LEN], unsigned slot, int value)
{
    uint64_t k = key(id);

    make(k)->value[slot] = seal(k, (uint32_t)value, NULL, 0);
}

/* --- the bound address -------------------------------------------------------------------------------------------- */

bool smx_memo_bound(const uint8_t id[static SMX_SOCKET_ID_LEN], struct smx_control_addr *local)
{
    uint64_t k = key(id);
    struct memo *m = find(k);
    uint32_t bound;

    *local = (struct smx_control_addr){0};
    if (!m)
        return false;
    uint64_t word = m->bound, with[3] = {m->local[0], m->local[1], m->local[2]};
    if (!unseal(word, k, &bound, with, 3))
        return false;
    local->family = (uint8_t)(bound >> 16);
    local->port = (uint16_t)bound;
    local->scope = (uint32_t)with[2];
    memcpy(local->ip, with, sizeof(local->ip));
    return true;
}

void smx_memo_bind(const uint8_t id[static SMX_SOCKET_ID_LEN], const struct smx_control_addr *local)
{
    uint64_t k = key(id), with[3] = {[2] = local->scope};
    struct memo *m = make(k);

    memcpy(with, local->ip, sizeof(local->ip));
    for (int i = 0; i < 3; i++)
        m->local[i] = with[i];
    m->bound = seal(k, (uint32_t)local->family << 16 | local->port, with, 3);
}

/* --- a connection attempt ----------------------------------------------------------------------------------------- */

void smx_memo_set_pending(const uint8_t id[static SMX_SOCKET_ID_LEN], bool pending)
{
    uint64_t k = key(id);
    struct memo *m = pending ? make(k) : find(k);

    if (m)
        m->pending = seal(k, pending, NULL, 0);
}

bool smx_memo_pending(const uint8_t id[static SMX_SOCKET_ID_LEN])
{
    uint64_t k = key(id);
    struct memo *m = find(k);
    uint32_t pending;

    return m && unseal(m->pending, k, &pending, NULL, 0) && pending;
}

/* --- epoll instances ---------------------------------------------------------------------------------------------- */

static bool watched(struct memo *m, uint64_t k, int i, struct smx_watch *out)
{
    uint32_t epoll;
    uint64_t word = m->watch[i].epoll, event[2] = {m->watch[i].event[0], m->watch[i].event[1]};

    if (!unseal(word, k, &epoll, event, 2))
        return false;
    *out = (struct smx_watch){(int)epoll, (uint32_t)event[0], event[1]};
    return true;
}

static void watch(struct memo *m, uint64_t k, int i, const struct smx_watch *w)
{
    const uint64_t event[2] = {w->events, w->data};

    m->watch[i].event[0] = event[0];
    m->watch[i].event[1] = event[1];
    m->watch[i].epoll = seal(k, (uint32_t)w->epoll, event, 2);
}

void smx_memo_watch(const uint8_t id[static SMX_SOCKET_ID_LEN], const struct smx_watch *w, bool on)
{
    uint64_t k = key(id);
    struct memo *m = on ? make(k) : find(k);
    struct smx_watch old;
    int place = -1;

    for (int i = 0; m && i < SMX_WATCHES; i++) {
        bool used = watched(m, k, i, &old);
        if (used && old.epoll == w->epoll) {
            m->watch[i].epoll = 0;
            used = false;
        }
        if (!used && place < 0)
            place = i;
    }
    if (on && place >= 0)
        watch(m, k, place, w);
}

int smx_memo_watches(const uint8_t id[static SMX_SOCKET_ID_LEN], struct smx_watch out[static SMX_WATCHES])
{
    uint64_t k = key(id);
    struct memo *m = find(k);
    int n = 0;

    for (int i = 0; m && i < SMX_WATCHES; i++)
        n += watched(m, k, i, &out[n]);
    return n;
}

/* --- all of it ---------------------------------------------------------------------------------------------------- */

void smx_memo_move(const uint8_t from[static SMX_SOCKET_ID_LEN], const uint8_t to[static SMX_SOCKET_ID_LEN])
{
    struct set *set = &sets[key(from) % SETS];
    struct smx_watch watches[SMX_WATCHES];
    struct smx_control_addr local;
    uint64_t k = key(from);
    int value, n = smx_memo_watches(from, watches);

    for (unsigned i = 0; i < SMX_MEMO_VALUES; i++)
        if (smx_memo_get(from, i, &value))
            smx_memo_set(to, i, value);
    if (smx_memo_bound(from, &local))
        smx_memo_bind(to, &local);
    for (int i = 0; i < n; i++)
        smx_memo_watch(to, &watches[i], true);
    for (int i = 0; i < WAYS; i++) {
        uint64_t old = k;
        atomic_compare_exchange_strong(&set->id[i], &old, 0);
    }
}
