/*
 * The state folder.
 *
 *   lock                                   held (flock) while a process uses the folder; the kernel lets go of it
 *   private_identity.pem, public_...       the client's keys under the reference client's names (spec 02 section 3.1)
 *   private_encryption.pem, public_...
 *   ack_key.pem
 *   gateways                               registrations and recent failures
 *   directory.cache                        last good directory
 *
 * The folder must be ours and closed to others (0700); files are 0600 and replaced atomically: written beside their
 * place, synced, renamed, the folder synced. private_identity.pem is written last, so its absence means a first start,
 * even after a crash in the middle of one; with it present, a missing or unreadable key is an error and never a reason
 * to make a new one. All paths are relative to the folder's descriptor and symbolic links are not followed.
 */
#include "stack/tunnel/state.h"

#include "core/crypto/crypto.h"
#include "stack/log.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define CACHE_FILE_MAX (16u << 20)

static const char gateways_file[] = "gateways", cache_file[] = "directory.cache";

struct secrets {
    struct smx_client_keys keys;
    struct smx_gateway_records gateways; /* last used first */
};

struct smx_state {
    int folder, lock; /* -1: in memory */
    char path[256];   /* for messages */
    struct secrets *secret;
};

/* --- files -------------------------------------------------------------------------------------------------------- */

static bool write_all(int fd, const void *data, size_t len)
{
    const char *at = data;
    while (len) {
        ssize_t n = write(fd, at, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        at += n;
        len -= (size_t)n;
    }
    return true;
}

/* False: errno says why, and the old file is still there. */
static bool replace_file(int folder, const char *name, const void *data, size_t len)
{
    char beside[64];
    snprintf(beside, sizeof(beside), ".%s.new", name);
    unlinkat(folder, beside, 0);
    int fd = openat(folder, beside, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return false;
    bool ok = write_all(fd, data, len) && !fsync(fd);
    int saved = errno;
    close(fd);
    errno = saved;
    ok = ok && !renameat(folder, beside, folder, name);
    saved = errno;
    if (ok)
        fsync(folder);
    else
        unlinkat(folder, beside, 0);
    errno = saved;
    return ok;
}

/* Returns the length, -1: errno says why (EFBIG: longer than cap). */
static ssize_t read_file(int folder, const char *name, void *out, size_t cap)
{
    int fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return -1;
    size_t len = 0;
    ssize_t n = 1;
    while (len < cap && (n = read(fd, (char *)out + len, cap - len)) > 0)
        len += (size_t)n;
    int saved = n < 0 ? errno : EFBIG;
    close(fd);
    errno = saved;
    return n < 0 || len == cap ? -1 : (ssize_t)len;
}

static enum smx_err fail_errno(const struct smx_state *state, const char *name, const char *doing,
                               struct smx_fault *fault)
{
    return smx_fail(fault, SMX_E_STATE, "the state folder %s cannot be used: %s %s: %s", state->path, doing, name,
                    strerrordesc_np(errno));
}

/* --- keys --------------------------------------------------------------------------------------------------------- */

enum key_file { PUBLIC_IDENTITY, PUBLIC_ENCRYPTION, ACK, PRIVATE_ENCRYPTION, PRIVATE_IDENTITY, KEY_FILES };

static const struct {
    const char *name, *label;
    size_t offset, len;
} key_files[KEY_FILES] = {
#define KEY(member) offsetof(struct smx_client_keys, member), sizeof(((struct smx_client_keys *)0)->member)
    [PUBLIC_IDENTITY] = {"public_identity.pem", "ED25519 PUBLIC KEY", KEY(self.identity)},
    [PUBLIC_ENCRYPTION] = {"public_encryption.pem", "X25519 PUBLIC KEY", KEY(self.encryption)},
    [ACK] = {"ack_key.pem", "AES-128-CTR ACKNOWLEDGEMENTS KEY", KEY(ack_key)},
    [PRIVATE_ENCRYPTION] = {"private_encryption.pem", "X25519 PRIVATE KEY", KEY(encryption_secret)},
    [PRIVATE_IDENTITY] = {"private_identity.pem", "ED25519 PRIVATE KEY", KEY(identity_seed)}, /* last */
#undef KEY
};

static enum smx_err write_keys(struct smx_state *state, struct smx_fault *fault)
{
    unlinkat(state->folder, gateways_file, 0); /* of an identity that is no more */
    for (unsigned i = 0; i < KEY_FILES; i++) {
        char text[SMX_PEM_MAX];
        const uint8_t *key = (const uint8_t *)&state->secret->keys + key_files[i].offset;
        size_t len = smx_pem_write(text, sizeof(text), key_files[i].label, key, key_files[i].len);
        bool ok = replace_file(state->folder, key_files[i].name, text, len);
        smx_wipe(text, sizeof(text));
        if (!ok)
            return fail_errno(state, key_files[i].name, "writing", fault);
    }
    return SMX_OK;
}

static enum smx_err read_key(struct smx_state *state, enum key_file i, struct smx_client_keys *keys,
                             struct smx_fault *fault)
{
    char text[SMX_PEM_MAX];
    ssize_t len = read_file(state->folder, key_files[i].name, text, sizeof(text));
    if (len < 0)
        return fail_errno(state, key_files[i].name, "reading", fault);
    enum smx_err err =
        smx_pem_read((uint8_t *)keys + key_files[i].offset, key_files[i].len, key_files[i].label, text, (size_t)len);
    smx_wipe(text, sizeof(text));
    if (err)
        return smx_fail(fault, SMX_E_STATE, "the state folder %s cannot be used: %s does not hold the key it should",
                        state->path, key_files[i].name);
    return SMX_OK;
}

/* The public files are only checked: they follow from the private ones. */
static enum smx_err read_keys(struct smx_state *state, struct smx_fault *fault)
{
    struct smx_client_keys *keys = &state->secret->keys;
    struct smx_client_keys public = {0};
    for (unsigned i = 0; i < KEY_FILES; i++) {
        bool is_public = i == PUBLIC_IDENTITY || i == PUBLIC_ENCRYPTION;
        enum smx_err err = read_key(state, (enum key_file)i, is_public ? &public : keys, fault);
        if (err)
            return err;
    }
    smx_client_keys_derive(keys);
    if (memcmp(public.self.identity, keys->self.identity, 32) ||
        memcmp(public.self.encryption, keys->self.encryption, 32))
        return smx_fail(fault, SMX_E_STATE, "the state folder %s cannot be used: its public and private keys differ",
                        state->path);
    return SMX_OK;
}

/* --- gateways ----------------------------------------------------------------------------------------------------- */

static enum smx_err write_gateways(const struct smx_state *state, struct smx_fault *fault)
{
    if (state->folder < 0)
        return SMX_OK;
    char text[SMX_GATEWAYS_FILE_MAX];
    size_t len = smx_gateways_write(text, sizeof(text), &state->secret->gateways);
    bool ok = replace_file(state->folder, gateways_file, text, len);
    smx_wipe(text, len);
    return ok ? SMX_OK : fail_errno(state, gateways_file, "writing", fault);
}

static enum smx_err read_gateways(struct smx_state *state, struct smx_fault *fault)
{
    char text[SMX_GATEWAYS_FILE_MAX];
    ssize_t len = read_file(state->folder, gateways_file, text, sizeof(text));
    if (len < 0 && errno == ENOENT)
        return SMX_OK;
    if (len < 0)
        return fail_errno(state, gateways_file, "reading", fault);
    enum smx_err err = smx_gateways_read(&state->secret->gateways, text, (size_t)len);
    smx_wipe(text, (size_t)len);
    if (err)
        return smx_fail(fault, SMX_E_STATE, "the state folder %s cannot be used: %s is not what we wrote", state->path,
                        gateways_file);
    return SMX_OK;
}

static struct smx_gateway_record *find(const struct smx_state *state, const uint8_t *gateway)
{
    struct smx_gateway_records *all = &state->secret->gateways;
    for (unsigned i = 0; i < all->n; i++)
        if (!memcmp(all->record[i].identity, gateway, 32))
            return &all->record[i];
    return NULL;
}

/* The record of a gateway, in front of all others; the one used longest ago gives way. */
static struct smx_gateway_record *touch(struct smx_state *state, const uint8_t *gateway)
{
    struct smx_gateway_records *all = &state->secret->gateways;
    struct smx_gateway_record *known = find(state, gateway), record = {0};
    unsigned at = all->n;
    if (known) {
        record = *known;
        at = (unsigned)(known - all->record);
    } else {
        memcpy(record.identity, gateway, 32);
        if (all->n < SMX_GATEWAY_RECORDS_MAX)
            all->n++;
        else
            at = all->n - 1;
    }
    memmove(all->record + 1, all->record, at * sizeof(record));
    all->record[0] = record;
    smx_wipe(&record, sizeof(record));
    return &all->record[0];
}

void smx_state_registration(const struct smx_state *state, const uint8_t gateway[static 32],
                            struct smx_registration *out)
{
    const struct smx_gateway_record *record = find(state, gateway);
    *out = record ? record->registration : (struct smx_registration){0};
}

enum smx_err smx_state_register(struct smx_state *state, const uint8_t gateway[static 32],
                                const struct smx_registration *registration, struct smx_fault *fault)
{
    struct smx_gateway_record *record = touch(state, gateway);
    record->registration = *registration;
    record->failed = 0;
    return write_gateways(state, fault);
}

void smx_state_gateway_failed(struct smx_state *state, const uint8_t gateway[static 32], int64_t unix_time)
{
    touch(state, gateway)->failed = unix_time;
    write_gateways(state, NULL);
}

static bool shunned(const struct smx_gateway_record *record, int64_t unix_time)
{
    return record->failed && unix_time >= record->failed && unix_time - record->failed < SMX_GATEWAY_SHUNNED;
}

bool smx_state_gateway_shunned(const struct smx_state *state, const uint8_t gateway[static 32], int64_t unix_time)
{
    const struct smx_gateway_record *record = find(state, gateway);
    return record && shunned(record, unix_time);
}

const uint8_t *smx_state_known_gateway(const struct smx_state *state, unsigned i, int64_t unix_time)
{
    const struct smx_gateway_records *all = &state->secret->gateways;
    for (unsigned at = 0; at < all->n; at++)
        if (all->record[at].registration.registered && !shunned(&all->record[at], unix_time) && !i--)
            return all->record[at].identity;
    return NULL;
}

/* --- directory ---------------------------------------------------------------------------------------------------- */

void smx_state_save_directory(const struct smx_state *state, const char *source,
                              const struct smx_directory_cache *cache)
{
    size_t len;
    uint8_t *bytes = state->folder < 0 ? NULL : smx_cache_write(cache, source, &len);
    if (bytes && (len >= CACHE_FILE_MAX || !replace_file(state->folder, cache_file, bytes, len)))
        smx_warn("%s/%s cannot be written: %s", state->path, cache_file, strerrordesc_np(errno));
    free(bytes);
}

bool smx_state_load_directory(const struct smx_state *state, const char *source, int64_t unix_time,
                              struct smx_directory_cache *out)
{
    struct stat st;
    if (state->folder < 0 || fstatat(state->folder, cache_file, &st, AT_SYMLINK_NOFOLLOW) || st.st_size < 0 ||
        st.st_size >= CACHE_FILE_MAX)
        return false;
    size_t cap = (size_t)st.st_size + 1;
    uint8_t *bytes = malloc(cap);
    ssize_t len = bytes ? read_file(state->folder, cache_file, bytes, cap) : -1;
    bool ok = len > 0 && !smx_cache_read(out, source, bytes, (size_t)len);
    free(bytes);
    if (ok && unix_time >= out->saved && unix_time < out->until)
        return true;
    if (ok) {
        smx_topology_unref(out->topology);
        free(out->exits);
    }
    return false;
}

/* --- life --------------------------------------------------------------------------------------------------------- */

static enum smx_err open_folder(struct smx_state *state, const char *folder, struct smx_fault *fault)
{
    struct stat st;
    if (mkdir(folder, 0700) && errno != EEXIST)
        return fail_errno(state, "the folder", "making", fault);
    state->folder = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (state->folder < 0 || fstat(state->folder, &st))
        return fail_errno(state, "the folder", "opening", fault);
    if (st.st_uid != geteuid())
        return smx_fail(fault, SMX_E_STATE, "the state folder %s cannot be used: it belongs to another user",
                        state->path);
    if (st.st_mode & 077)
        return smx_fail(fault, SMX_E_STATE, "the state folder %s cannot be used: others may enter it (chmod 700 it)",
                        state->path);
    state->lock = openat(state->folder, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (state->lock < 0)
        return fail_errno(state, "lock", "opening", fault);
    return SMX_OK;
}

static void close_folder(struct smx_state *state)
{
    if (state->folder >= 0)
        close(state->folder);
    if (state->lock >= 0)
        close(state->lock); /* lets go of the lock */
    state->folder = state->lock = -1;
}

static enum smx_err use_folder(struct smx_state *state, const struct smx_random *random, struct smx_fault *fault)
{
    struct stat st;
    if (!fstatat(state->folder, key_files[PRIVATE_IDENTITY].name, &st, AT_SYMLINK_NOFOLLOW)) {
        enum smx_err err = read_keys(state, fault);
        return err ? err : read_gateways(state, fault);
    }
    if (errno != ENOENT)
        return fail_errno(state, key_files[PRIVATE_IDENTITY].name, "finding", fault);
    smx_client_keys_generate(&state->secret->keys, random);
    return write_keys(state, fault);
}

static enum smx_err fill(struct smx_state *state, const char *folder, const struct smx_random *random,
                         struct smx_fault *fault)
{
    enum smx_err err = *folder ? open_folder(state, folder, fault) : SMX_OK;
    if (err)
        return err;
    if (*folder && !flock(state->lock, LOCK_EX | LOCK_NB))
        return use_folder(state, random, fault);
    if (*folder && errno != EWOULDBLOCK)
        return fail_errno(state, "lock", "locking", fault);
    if (*folder)
        smx_info("another process uses the state folder %s: this one takes fresh keys, in memory only", state->path);
    close_folder(state);
    smx_client_keys_generate(&state->secret->keys, random);
    return SMX_OK;
}

struct smx_state *smx_state_open(const char *folder, const struct smx_random *random, struct smx_fault *fault)
{
    struct smx_state *state = calloc(1, sizeof(*state));
    if (state) {
        state->folder = state->lock = -1;
        snprintf(state->path, sizeof(state->path), "%.120s", folder);
        state->secret = sodium_malloc(sizeof(*state->secret)); /* locked, not dumped, guard pages around it */
    }
    if (!state || !state->secret) {
        free(state);
        smx_fail(fault, SMX_E_NOMEM, "out of memory for keys");
        return NULL;
    }
    memset(state->secret, 0, sizeof(*state->secret));
    if (!fill(state, folder, random, fault))
        return state;
    smx_state_free(state);
    return NULL;
}

void smx_state_free(struct smx_state *state)
{
    if (!state)
        return;
    close_folder(state);
    sodium_free(state->secret); /* wipes */
    free(state);
}

bool smx_state_kept(const struct smx_state *state)
{
    return state->folder >= 0;
}

const struct smx_client_keys *smx_state_keys(const struct smx_state *state)
{
    return &state->secret->keys;
}
