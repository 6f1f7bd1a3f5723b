/* Frames between nodes: the recorded headers, streams cut anywhere, every first bad byte. Spec 06 section 2. */
#include "core/node/mix_frame.h"
#include "core/crypto/crypto.h"
#include "tests/support/known.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define V "vectors.json"

static void setup(void)
{
    cr_assert_eq(smx_crypto_init(), SMX_OK);
}

TestSuite(mix_frame, .init = setup);

/* The packet of the vectors with this SHA-256. */
static struct known_bytes packet_with(const uint8_t *sha256)
{
    static const char *groups[] = {"sphinx_packet_regular", "sphinx_packet_other"};
    uint8_t digest[32];

    for (size_t g = 0; g < 2; g++)
        KNOWN_EACH(c, V, groups[g])
        {
            if (!known_has(c, "packet"))
                continue;
            struct known_bytes packet = known_bytes(c, "packet");
            smx_sha256(digest, packet.p, packet.len);
            if (!memcmp(digest, sha256, 32))
                return packet;
        }
    cr_assert_fail("no such packet in the vectors");
    return (struct known_bytes){0};
}

static void check_single(json_object *c)
{
    struct known_bytes packet = packet_with(known_fixed(c, "packet_sha256", 32));
    uint8_t version = (uint8_t)known_int(c, "version"), rotation = (uint8_t)known_int(c, "rotation");
    uint8_t buffer[SMX_MIX_FRAME_MAX], digest[32];
    struct smx_mix_frame frame;
    size_t used, len = smx_mix_frame_write(buffer, sizeof(buffer), version, rotation, packet.p, packet.len);

    cr_assert_eq(len, known_u64(c, "frame_len"), "%s", known_desc(c));
    cr_expect_arr_eq(buffer, known_bytes(c, "header").p, known_bytes(c, "header").len);
    smx_sha256(digest, buffer, len);
    cr_expect_arr_eq(digest, known_fixed(c, "frame_sha256", 32), 32);

    for (size_t cut = 0; cut < len; cut += cut < 8 ? 1 : 97)
        cr_expect_eq(smx_mix_frame_parse(&frame, &used, buffer, cut), SMX_E_AGAIN, "%zu", cut);
    cr_assert_eq(smx_mix_frame_parse(&frame, &used, buffer, len), SMX_OK);
    cr_expect_eq(used, len);
    cr_expect_eq(frame.version, version);
    cr_expect_eq(frame.rotation, rotation);
    cr_expect_eq(frame.packet_type, known_int(c, "packet_type"));
    cr_expect_eq((int)frame.size, known_int(c, "size_tag"));
    cr_expect_eq(frame.len, packet.len);
    cr_expect(!memcmp(frame.packet, packet.p, packet.len));
    cr_expect_eq(smx_mix_frame_write(buffer, len - 1, version, rotation, packet.p, packet.len), 0);
}

static void check_stream(json_object *c)
{
    struct known_bytes stream = known_bytes(c, "stream");
    struct smx_mix_frame frame;
    size_t used;

    if (known_bool(c, "reject")) {
        enum smx_err err = smx_mix_frame_parse(&frame, &used, stream.p, stream.len);
        cr_expect(err != SMX_OK && err != SMX_E_AGAIN, "%s", known_desc(c));
        return;
    }
    json_object *frames = known_member(c, "frames");
    size_t at = 0;
    for (size_t i = 0; i < known_len(frames); i++, at += used) {
        json_object *want = known_at(frames, i);
        cr_assert_eq(smx_mix_frame_parse(&frame, &used, stream.p + at, stream.len - at), SMX_OK);
        cr_expect_eq(frame.version, known_int(want, "version"));
        cr_expect_eq((int)frame.size, known_int(want, "size_tag"));
        cr_expect_eq(frame.rotation, known_int(want, "rotation"));
    }
    cr_expect_eq(at, stream.len);
}

Test(mix_frame, recorded)
{
    KNOWN_EACH(c, V, "mix_frames")
    {
        if (known_has(c, "stream"))
            check_stream(c);
        else
            check_single(c);
    }
}

/* What each header means, for all values of one byte at a time. */
Test(mix_frame, every_value_of_every_header_byte)
{
    uint8_t bytes[4] = {8, SMX_SIZE_ACK, 0, 1};
    struct smx_mix_frame frame;
    size_t used;

    for (unsigned at = 0; at < 4; at++)
        for (unsigned value = 0; value < 256; value++) {
            uint8_t header[4];
            memcpy(header, bytes, 4);
            header[at] = (uint8_t)value;
            bool good = at == 0   ? value == 7 || value == 8
                        : at == 1 ? value >= 1 && value <= 5
                        : at == 2 ? value == 0 || value == 2
                                  : value <= 2;
            enum smx_err err = smx_mix_frame_parse(&frame, &used, header, 4);
            cr_expect_eq(err == SMX_E_AGAIN, good, "byte %u = %u: %d", at, value, err);
            cr_expect_neq(err, SMX_OK);
        }
}

Test(mix_frame, a_packet_of_no_size_class_cannot_be_framed)
{
    uint8_t out[4000], packet[3000] = {0};
    cr_expect_eq(smx_mix_frame_write(out, sizeof(out), 8, 0, packet, 2412), 0);
    cr_expect_eq(smx_mix_frame_write(out, sizeof(out), 8, 0, packet, 0), 0);
}
