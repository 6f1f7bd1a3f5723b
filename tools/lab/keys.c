/*
 * The lab's keys. Without --seed they are random. With --seed 0 they are those of the known-answer network of spec 05
 * section 12.2: Ed25519 seed and X25519 secret are 32 equal bytes, 11..13 and 21..23 (hex) for mix nodes 1 to 3, 14 and
 * 24 for the first gateway, 15 and 25 for the exit's client, 16 and 26 for the second gateway; more mix nodes (--mixes)
 * have 17 and 27 and up. With any other seed N each secret is the SHA-256 of
 *
 *     "smolmix-lab" || N as 8 bytes, big endian || that byte
 *
 * so a network is the same whenever and wherever it is started with the same seed.
 */
#include "core/base/bytes.h"
#include "core/base/random.h"
#include "tools/lab/lab.h"

static void make_secret(uint8_t secret[32], const struct lab_options *options, uint8_t which)
{
    if (!options->seeded) {
        smx_random_bytes(&smx_random_system, secret, 32);
        return;
    }
    if (options->seed == 0) {
        memset(secret, which, 32);
        return;
    }
    static const char label[] = "smolmix-lab";
    uint8_t text[sizeof(label) - 1 + 8 + 1];
    struct smx_writer w = smx_writer(text, sizeof(text));
    smx_write(&w, label, sizeof(label) - 1);
    smx_write_be64(&w, options->seed);
    smx_write_u8(&w, which);
    smx_sha256(secret, text, w.len);
}

void lab_keys_make(struct lab_keys *keys, const struct lab_options *options, unsigned owner)
{
    uint8_t seed[32];
    make_secret(seed, options, (uint8_t)(0x10 + owner));
    smx_ed25519_from_seed(&keys->identity, seed);
    smx_wipe(seed, sizeof(seed));
    make_secret(keys->sphinx_secret, options, (uint8_t)(0x20 + owner));
    smx_x25519_base(keys->sphinx_public, keys->sphinx_secret);
}

void lab_keys_rotate(struct lab_keys *keys)
{
    smx_sha256(keys->sphinx_secret, keys->sphinx_secret, 32);
    smx_x25519_base(keys->sphinx_public, keys->sphinx_secret);
}
