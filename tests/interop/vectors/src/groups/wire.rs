//! What is not encrypted: addresses, tags, sizes, forward requests and frames between nodes.

use super::Groups;
use crate::document::{hex, pattern, sha256};
use crate::tape::Tape;
use crate::world::{identity, secret, World};
use bytes::BytesMut;
use nym_sphinx::addressing::clients::Recipient;
use nym_sphinx::addressing::nodes::NymNodeRoutingAddress;
use nym_sphinx::anonymous_replies::requests::AnonymousSenderTag;
use nym_sphinx::forwarding::packet::MixPacket;
use nym_sphinx::framing::codec::NymCodec;
use nym_sphinx::framing::packet::FramedNymPacket;
use nym_sphinx::params::{PacketSize, PacketType, SphinxKeyRotation};
use nym_sphinx_types::NymPacket;
use serde_json::{json, Value};
use std::net::SocketAddr;
use tokio_util::codec::{Decoder, Encoder};

pub const SIZES: [PacketSize; 5] = [
    PacketSize::RegularPacket,
    PacketSize::AckPacket,
    PacketSize::ExtendedPacket8,
    PacketSize::ExtendedPacket16,
    PacketSize::ExtendedPacket32,
];
const ROTATIONS: [SphinxKeyRotation; 3] =
    [SphinxKeyRotation::Unknown, SphinxKeyRotation::OddRotation, SphinxKeyRotation::EvenRotation];

fn node_addresses() -> Vec<Value> {
    let good = [
        "192.0.2.7:1789",
        "0.0.0.0:0",
        "255.255.255.255:65535",
        "[2001:db8::1]:1789",
        "[::]:0",
        "[::ffff:192.0.2.1]:258",
    ];
    let bad = [
        "",
        "04",
        "0406fd0a0000",
        "0606fd20010db80000000000000000000000",
        "0006fd0a000001",
        "0506fd0a000001",
        "ff06fd0a000001",
    ];
    let encode = |text: &&str| {
        let socket: SocketAddr = text.parse().expect("an address");
        let address = NymNodeRoutingAddress::from(socket);
        json!({
            "ip": socket.ip().to_string(), "port": socket.port(), "unpadded": hex(address.as_bytes()),
            "padded19": hex(address.as_zero_padded_bytes(19)), "padded32": hex(address.as_zero_padded_bytes(32)),
        })
    };
    let refuse = |text: &&str| {
        let error = NymNodeRoutingAddress::try_from_bytes(&hex::decode(text).expect("hex")).expect_err(text);
        json!({ "bytes": text, "reject": true, "error": error.to_string() })
    };
    good.iter().map(encode).chain(bad.iter().map(refuse)).collect()
}

fn recipients(world: &World) -> Vec<Value> {
    let mut cases: Vec<_> = [&world.alice, &world.bob]
        .iter()
        .map(|client| json!({ "text": client.recipient.to_string(), "bytes": hex(client.recipient.to_bytes()) }))
        .collect();
    // an encryption key may be anything; base58 shows leading zeros
    let gateway = identity(secret(&mut Tape));
    let mut bytes = [0; 96];
    bytes[..32].copy_from_slice(&world.alice.identity.public_key().to_bytes());
    bytes[63] = 1;
    bytes[64..].copy_from_slice(&gateway.public_key().to_bytes());
    let zeros = Recipient::try_from_bytes(bytes).expect("any encryption key is good");
    cases.push(json!({ "text": zeros.to_string(), "bytes": hex(bytes) }));
    // any encoding of a point will do: of small order, or not the shortest one
    for odd in [[0; 32], [0xff; 32]] {
        bytes[..32].copy_from_slice(&odd);
        let recipient = Recipient::try_from_bytes(bytes).expect("points of the curve");
        cases.push(json!({ "text": recipient.to_string(), "bytes": hex(bytes) }));
    }

    let text = world.alice.recipient.to_string();
    let (client, at) = text.split_once('@').expect("a gateway");
    let (id, encryption) = client.split_once('.').expect("two keys");
    let no_point = "2".repeat(43);
    let bad = [
        String::new(),
        client.to_string(),
        format!("{id}@{at}"),
        format!("{text}@{at}"),
        format!("{id}.{encryption}.{id}@{at}"),
        format!("{id}0.{encryption}@{at}"),
        format!("{id}.{}@{at}", &encryption[3..]),
        format!("{id}.@{at}"),
        format!("{text} "),
        format!("{no_point}.{encryption}@{at}"),
        format!("{client}@{no_point}"),
    ];
    for text in bad {
        let error = Recipient::try_from_base58_string(&text).err().unwrap_or_else(|| panic!("{text} is accepted"));
        cases.push(json!({ "text": text, "reject": true, "error": error.to_string() }));
    }
    cases
}

fn tags() -> (Vec<Value>, Vec<Value>) {
    let ids = [0, 1, 2, 3, 24, 41, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, 0xffff_ffff];
    let rotation = |id: &u32| json!({ "id": id, "tag": SphinxKeyRotation::from(*id) as u8 });
    let sender =
        |bytes: &[u8; 16]| json!({ "bytes": hex(bytes), "text": AnonymousSenderTag::from_bytes(*bytes).to_string() });
    let mut leading_zero = [7; 16];
    leading_zero[0] = 0;
    (ids.iter().map(rotation).collect(), [[0; 16], [255; 16], leading_zero].iter().map(sender).collect())
}

fn packet_sizes() -> Vec<Value> {
    let mut cases: Vec<_> = SIZES
        .iter()
        .map(|size| {
            json!({
                "name": size.to_string(), "tag": *size as u8, "packet": size.size(), "payload": size.payload_size(),
                "plaintext": size.plaintext_size(),
            })
        })
        .collect();
    for len in [0, 364, 377, 385, 387, 2371, 2377, 2412, 2414, 33134] {
        let error = PacketSize::get_type(len).expect_err("no size class");
        cases.push(json!({ "packet": len, "reject": true, "error": error.to_string() }));
    }
    for tag in [0u8, 6, 7, 8, 255] {
        let error = PacketSize::try_from(tag).expect_err("no tag");
        cases.push(json!({ "tag": tag, "reject": true, "error": error.to_string() }));
    }
    cases
}

fn packet(size: PacketSize) -> NymPacket {
    NymPacket::sphinx_from_bytes(&pattern(size as u32, size.size())).expect("long enough")
}

/// The packet inside follows the pattern of its size tag.
fn forward_requests() -> Vec<Value> {
    let hops = ["192.0.2.1:1789", "[2001:db8::2]:65535"];
    let mut cases = vec![];
    for size in SIZES {
        for hop in hops {
            let rotation = ROTATIONS[cases.len() % 3];
            let make = || {
                MixPacket::new(
                    hop.parse::<SocketAddr>().expect("an address").into(),
                    packet(size),
                    PacketType::Mix,
                    rotation,
                )
            };
            for (v2, bytes) in [(false, make().into_v1_bytes()), (true, make().into_v2_bytes())] {
                let bytes = bytes.expect("a Sphinx packet");
                cases.push(json!({
                    "v2": v2, "size": size as u8, "rotation": if v2 { rotation as u8 } else { 0 },
                    "head": hex(&bytes[..bytes.len() - size.size()]), "sha256": sha256(&bytes),
                }));
            }
        }
    }
    cases
}

/// A head and how many bytes of zeros follow.
fn refused_forward_requests() -> Vec<Value> {
    let list = [
        (false, "", 0),
        (false, "00", 0),
        (false, "0104 06fd c0000201", 386),
        (false, "0204 06fd c0000201", 386),
        (false, "0005 06fd c0000201", 386),
        (false, "0004 06fd c0000201", 385),
        (false, "0004 06fd c000", 0),
        (true, "0000", 0),
        (true, "0003 04 06fd c0000201", 386),
        (true, "0100 04 06fd c0000201", 386),
        (true, "0001 04 06fd c0000201", 2412),
        (true, "0001 04 06fd c0000201", 0),
        (true, "0001 06 06fd c0000201", 386),
    ];
    let case = |(v2, head, zeros): &(bool, &str, usize)| {
        let head = hex::decode(head.replace(' ', "")).expect("hex");
        let bytes = [&head[..], &vec![0; *zeros]].concat();
        let read = if *v2 { MixPacket::try_from_v2_bytes(&bytes) } else { MixPacket::try_from_v1_bytes(&bytes) };
        let error = read.err().unwrap_or_else(|| panic!("{} is accepted", hex::encode(&head)));
        json!({ "v2": v2, "head": hex(head), "zeros": zeros, "error": error.to_string() })
    };
    list.iter().map(case).collect()
}

fn mix_frames() -> Vec<Value> {
    let mut cases = vec![];
    for size in SIZES {
        for (version, rotation) in
            [(7, SphinxKeyRotation::OddRotation)].into_iter().chain(ROTATIONS.map(|rotation| (8, rotation)))
        {
            let frame = FramedNymPacket::new(packet(size), PacketType::Mix, rotation, version == 7);
            let mut bytes = BytesMut::new();
            NymCodec.encode(frame, &mut bytes).expect("a Sphinx packet");
            let frame = bytes.to_vec();
            let decoded = NymCodec.decode(&mut bytes).expect("a frame").expect("a whole frame");
            assert!(bytes.is_empty());
            cases.push(json!({
                "version": version, "size": size as u8, "rotation": decoded.key_rotation() as u8,
                "given_rotation": rotation as u8,
                "head": hex(&frame[..frame.len() - size.size()]), "len": frame.len(), "sha256": sha256(frame),
            }));
        }
    }
    cases
}

/// Heads in front of zeros enough for any packet.
fn refused_mix_frames() -> Vec<Value> {
    let list = [
        "000100", "060100", "090100", "ff010000", "070000", "070600", "070700", "070800", "070101", "070103",
        "080101ff", "08010003", "080100ff", "08000000", "08060000",
    ];
    let case = |head: &&str| {
        let mut bytes = BytesMut::from(&hex::decode(head).expect("hex")[..]);
        bytes.resize(40_000, 0);
        let error = NymCodec.decode(&mut bytes).err().unwrap_or_else(|| panic!("{head} is accepted"));
        json!({ "head": head, "error": error.to_string() })
    };
    list.iter().map(case).collect()
}

pub fn groups(world: &World) -> Groups {
    let (rotation_tags, sender_tags) = tags();
    vec![
        ("node_address", node_addresses()),
        ("recipient", recipients(world)),
        ("key_rotation_tag", rotation_tags),
        ("anonymous_sender_tag", sender_tags),
        ("packet_sizes", packet_sizes()),
        ("forward_requests", forward_requests()),
        ("forward_requests_refused", refused_forward_requests()),
        ("mix_frames", mix_frames()),
        ("mix_frames_refused", refused_mix_frames()),
    ]
}
