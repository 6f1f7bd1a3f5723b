//! Whole packets: acknowledgements, data, replies through SURBs, loop cover; in every size and both Sphinx versions,
//! with mix hops and without.

use super::messages::preparer;
use super::Groups;
use crate::document::{hex, merge, pattern, sha256};
use crate::journey::{header, travel, Journey};
use crate::parts::{describe_ack, new_surb, to_alice, to_bob, ACK_PREFIX, DELAY};
use crate::tape::Tape;
use crate::world::World;
use nym_sphinx::acknowledgements::surb_ack::SurbAck;
use nym_sphinx::anonymous_replies::ReplySurb;
use nym_sphinx::chunking::fragment::{Fragment, COVER_FRAG_ID};
use nym_sphinx::cover::{generate_loop_cover_packet, is_cover};
use nym_sphinx::forwarding::packet::MixPacket;
use nym_sphinx::message::NymMessage;
use nym_sphinx::params::{PacketSize, PacketType, SphinxKeyRotation};
use nym_sphinx::receiver::{MessageReceiver, SphinxMessageReceiver};
use serde_json::{json, Value};

const EXTENDED: [PacketSize; 3] =
    [PacketSize::ExtendedPacket8, PacketSize::ExtendedPacket16, PacketSize::ExtendedPacket32];

fn acks(world: &World) -> Vec<Value> {
    let ids = [[0, 0, 0, 0, 0], [0, 0, 0x30, 0x39, 1], [0x7f, 0xff, 0xff, 0xff, 255]];
    let mut cases = vec![];
    for (legacy, mix_hops) in [(false, true), (true, true), (false, false)] {
        for id in ids {
            Tape::start();
            let key = &world.alice.ack_key;
            let ack = SurbAck::construct(
                &mut Tape,
                legacy,
                &world.alice.recipient,
                key,
                id,
                DELAY,
                &world.routes,
                PacketType::Mix,
                !mix_hops,
            );
            let ack = ack.expect("a valid topology");
            let expected = ack.expected_total_delay().to_nanos();
            let (_, prefix) = ack.prepare_for_sending().expect("a Sphinx packet");
            let case = describe_ack(world, &prefix, &to_alice(mix_hops), key);
            let total: u64 = case["delays_ns"].as_array().expect("a list").iter().filter_map(Value::as_u64).sum();
            assert_eq!(total, expected);
            cases.push(merge(case, json!({ "prefix": hex(prefix) })));
        }
    }
    cases
}

/// The packet as it leaves towards the gateway: both forms of the forward request by their hashes.
fn forwarded(packet: MixPacket, whole: bool) -> (Vec<u8>, Value) {
    let bytes = packet.packet().to_bytes().expect("a Sphinx packet");
    let v2 = packet.into_v2_bytes().expect("a Sphinx packet");
    let v1 = MixPacket::try_from_v2_bytes(&v2).and_then(MixPacket::into_v1_bytes).expect("the same packet");
    let case = json!({
        "rotation": v2[1],
        "packet_sha256": sha256(&bytes),
        "forward_v1_sha256": sha256(v1),
        "forward_v2_sha256": sha256(v2),
    });
    let case = if whole { merge(case, json!({ "packet": hex(&bytes) })) } else { case };
    (bytes, case)
}

/// A fragment of the plain message of this pattern, and how to make it again.
fn fragment_of(world: &World, size: PacketSize, len: usize, index: usize) -> (Fragment, Value) {
    let mut preparer = preparer(world, false, true);
    let fragments = preparer.pad_and_split_message(NymMessage::new_plain(pattern(len as u32, len)), size);
    let mut set_ids: Vec<_> = fragments.iter().map(Fragment::id).collect();
    set_ids.dedup();
    let fragment = fragments[index].clone();
    let case = json!({
        "size": size as u8, "data_pattern": len, "data_len": len, "set_ids": set_ids, "index": index,
        "fragment_sha256": sha256(fragment.clone().into_bytes()),
    });
    (fragment, case)
}

fn data_packet(
    world: &World,
    size: PacketSize,
    legacy: bool,
    mix_hops: bool,
    len: usize,
    index: usize,
    rotation: u32,
) -> Value {
    let (fragment, case) = fragment_of(world, size, len, index);
    let content = fragment.clone().into_bytes();
    let mut preparer = preparer(world, legacy, mix_hops);
    let key = &world.alice.ack_key;
    Tape::start();
    let prepared = preparer
        .prepare_chunk_for_sending(fragment, &world.at_rotation(rotation), key, &world.bob.recipient, PacketType::Mix)
        .expect("a valid topology");
    let (bytes, packet) = forwarded(prepared.mix_packet, size == PacketSize::RegularPacket && index == 0);
    let route = to_bob(mix_hops);
    let journey = travel(world, &bytes, &route).expect("the packet arrives");
    let (prefix, message) = journey.plaintext.split_at(ACK_PREFIX);
    let opened = open(&mut message.to_vec(), world);
    assert_eq!(opened, content);
    let ack = describe_ack(world, prefix, &to_alice(mix_hops), key);
    merge(merge(case, packet), finish(&journey, &route, ack))
}

/// Decrypted with bob's key, as a receiver does it.
fn open(message: &mut [u8], world: &World) -> Vec<u8> {
    let receiver = SphinxMessageReceiver::new();
    let opened = receiver.recover_plaintext_from_regular_packet(world.bob.encryption.private_key(), message);
    opened.expect("long enough").to_vec()
}

/// The ephemeral key is drawn after those of the acknowledgement.
fn finish(journey: &Journey, route: &[usize], ack: Value) -> Value {
    let case = json!({
        "ack": ack, "ephemeral_private": hex(Tape::from_generator(32)),
        "plaintext_sha256": sha256(&journey.plaintext), "hops": journey.hops,
    });
    merge(case, header(journey, route))
}

fn data(world: &World) -> Vec<Value> {
    let regular = PacketSize::RegularPacket;
    let mut cases = vec![
        data_packet(world, regular, false, true, 100, 0, 41),
        data_packet(world, regular, true, true, 100, 0, 42),
        data_packet(world, regular, false, false, 1602, 0, 0),
    ];
    for size in EXTENDED {
        cases.push(data_packet(world, size, false, true, 5000, 0, 41));
    }
    // linked sets: both ends of the link, the fragment after it, the last one
    for index in [0, 254, 255, 256, 262] {
        cases.push(data_packet(world, regular, false, true, 420_655, index, u32::MAX));
    }
    cases
}

fn reply_packet(world: &World, size: PacketSize, legacy: bool, mix_hops: bool) -> Value {
    let (fragment, case) = fragment_of(world, size, 1000, 0);
    let content = fragment.clone().into_bytes();
    let (surb, surb_case) = new_surb(world, legacy, mix_hops);
    let read = || ReplySurb::from_bytes(&surb).expect("made by the crate");
    let mut preparer = preparer(world, false, true);
    preparer.set_sender_address(world.bob.recipient);
    let key = &world.bob.ack_key;
    let with_rotation = read().with_key_rotation(SphinxKeyRotation::EvenRotation);
    Tape::start();
    let prepared = preparer
        .prepare_reply_chunk_for_sending(fragment, &world.routes, key, with_rotation, PacketType::Mix)
        .expect("a valid topology");
    let (bytes, packet) = forwarded(prepared.mix_packet, false);
    let journey = travel(world, &bytes, &to_alice(mix_hops)).expect("the reply arrives");
    let (prefix, message) = journey.plaintext.split_at(ACK_PREFIX);
    assert_eq!(message[..32], read().encryption_key().compute_digest()[..]);
    let mut opened = message[32..].to_vec();
    SphinxMessageReceiver::new()
        .recover_plaintext_from_reply(&mut opened, *read().encryption_key())
        .expect("any bytes");
    assert_eq!(opened, content);
    let more = json!({
        "surb": surb_case,
        "ack": describe_ack(world, prefix, &to_bob(true), key),
        "plaintext_sha256": sha256(&journey.plaintext),
        "hops": journey.hops,
    });
    merge(merge(case, packet), more)
}

fn replies(world: &World) -> Vec<Value> {
    let regular = PacketSize::RegularPacket;
    let mut cases = vec![
        reply_packet(world, regular, false, true),
        reply_packet(world, regular, true, true),
        reply_packet(world, regular, false, false),
    ];
    cases.extend(EXTENDED.iter().map(|size| reply_packet(world, *size, false, true)));
    cases.push(reply_packet(world, PacketSize::ExtendedPacket8, true, true));
    cases
}

fn cover_packet(world: &World, size: PacketSize, legacy: bool) -> Value {
    let bob = &world.bob;
    Tape::start();
    let packet = generate_loop_cover_packet(
        &mut Tape,
        legacy,
        &world.routes,
        &bob.ack_key,
        &bob.recipient,
        DELAY,
        DELAY,
        size,
        PacketType::Mix,
    );
    let (bytes, packet) = forwarded(packet.expect("a valid topology"), false);
    let route = to_bob(true);
    let journey = travel(world, &bytes, &route).expect("the packet arrives");
    let (prefix, message) = journey.plaintext.split_at(ACK_PREFIX);
    let content = open(&mut message.to_vec(), world);
    assert!(is_cover(&content));
    let ack = describe_ack(world, prefix, &route, &bob.ack_key);
    assert_eq!(ack["fragment_id"], hex(COVER_FRAG_ID.to_bytes()));
    let case = json!({ "size": size as u8, "content_sha256": sha256(content) });
    merge(merge(case, packet), finish(&journey, &route, ack))
}

fn covers(world: &World) -> Vec<Value> {
    let kinds =
        [(PacketSize::RegularPacket, false), (PacketSize::RegularPacket, true), (PacketSize::ExtendedPacket8, false)];
    kinds.iter().map(|(size, legacy)| cover_packet(world, *size, *legacy)).collect()
}

pub fn groups(world: &World) -> Groups {
    vec![
        ("acks", acks(world)),
        ("data_packets", data(world)),
        ("reply_packets", replies(world)),
        ("cover_packets", covers(world)),
    ]
}
