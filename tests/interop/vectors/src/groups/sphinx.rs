//! Sphinx packets of every hop count, version and size, and damaged ones.

use super::Groups;
use crate::document::{hex, merge, pattern, sha256};
use crate::journey::{header, travel};
use crate::tape::Tape;
use crate::world::{World, ALICES_GATEWAY, BOBS_GATEWAY, MIXES, SPARE};
use nym_sphinx::params::PacketSize;
use nym_sphinx_types::{Delay, Destination, SphinxPacketBuilder, Version, DEFAULT_PAYLOAD_SIZE, PAYLOAD_OVERHEAD_SIZE};
use rand::RngCore;
use serde_json::{json, Value};

const ROUTE: [usize; 5] = [MIXES[0], MIXES[1], MIXES[2], SPARE, ALICES_GATEWAY];
const SMALLEST_PAYLOAD: usize = 32 + 1; // the wide-block cipher needs more than 32 bytes

struct Packet {
    desc: String,
    version: u16,
    hops: usize,
    payload_size: usize,
    message_len: usize,
    identifier: [u8; 16],
    delays: Vec<u64>,
}

impl Packet {
    fn new(desc: &str, version: u16, hops: usize, payload_size: usize) -> Self {
        let delays = (0..hops).map(|_| Tape.next_u64() % 200_000_000).collect();
        Packet {
            desc: format!("version {version}, {hops} hops, {desc}"),
            version,
            hops,
            payload_size,
            message_len: payload_size - PAYLOAD_OVERHEAD_SIZE,
            identifier: [0; 16],
            delays,
        }
    }

    fn build(&self, world: &World, number: usize) -> Vec<u8> {
        let delays: Vec<_> = self.delays.iter().map(|nanos| Delay::new_from_nanos(*nanos)).collect();
        let destination = Destination::new(world.alice.destination().address, self.identifier);
        SphinxPacketBuilder::new()
            .with_version(Version::new(self.version))
            .with_payload_size(self.payload_size)
            .build_packet(
                pattern(number as u32, self.message_len),
                &world.route(&ROUTE[5 - self.hops..]),
                &destination,
                &delays,
            )
            .expect("valid inputs")
            .to_bytes()
    }

    fn describe(&self, world: &World, number: usize) -> Value {
        Tape::start();
        let bytes = self.build(world, number);
        let route = &ROUTE[5 - self.hops..];
        let journey = travel(world, &bytes, route).expect("good packets arrive");
        assert_eq!(journey.plaintext, pattern(number as u32, self.message_len));
        assert_eq!(journey.delays, self.delays[..self.hops - 1]);
        let case = json!({
            "desc": self.desc,
            "identifier": hex(self.identifier),
            "payload_size": self.payload_size,
            "message_len": self.message_len,
            "packet_sha256": sha256(&bytes),
            "hops": journey.hops,
        });
        let whole = if self.keep_whole() { json!({ "packet": hex(&bytes) }) } else { json!({}) };
        merge(merge(case, whole), header(&journey, route))
    }

    /// Those that cannot be built by everybody who must process them, and short ones.
    fn keep_whole(&self) -> bool {
        self.payload_size < 100 || ![258, 259].contains(&self.version)
    }
}

fn packets() -> Vec<Packet> {
    let regular = PacketSize::RegularPacket.payload_size();
    let mut list = vec![];
    for version in [259, 258] {
        for hops in 1..=5 {
            list.push(Packet::new("regular", version, hops, regular));
        }
        let others = [
            PacketSize::AckPacket,
            PacketSize::ExtendedPacket8,
            PacketSize::ExtendedPacket16,
            PacketSize::ExtendedPacket32,
        ];
        for size in others {
            list.push(Packet::new(&size.to_string(), version, 4, size.payload_size()));
        }
        for payload_size in [SMALLEST_PAYLOAD, 64, 95, 96, 97, DEFAULT_PAYLOAD_SIZE, 4095] {
            list.push(Packet::new(&format!("payload of {payload_size}"), version, 3, payload_size));
        }
        for message_len in [0, 1, regular - PAYLOAD_OVERHEAD_SIZE - 1] {
            let desc = format!("message of {message_len}");
            list.push(Packet { message_len, ..Packet::new(&desc, version, 4, regular) });
        }
        let longest = vec![u64::MAX, 0, 15_000_000, 1];
        list.push(Packet { delays: longest, ..Packet::new("extreme delays", version, 4, regular) });
        list.push(Packet { identifier: [0xa5; 16], ..Packet::new("with identifier", version, 4, regular) });
    }
    for version in [260, 0x0200, 0xffff, 0] {
        list.push(Packet::new("treated like 259", version, 4, PacketSize::AckPacket.payload_size()));
    }
    list
}

/// One flipped bit each, with what the reference says about it and where.
fn damaged(world: &World) -> Vec<Value> {
    const PLACES: [(&str, usize); 8] = [
        ("group element", 0),
        ("group element's end", 30),
        ("MAC", 32),
        ("MAC's end", 47),
        ("routing information", 48),
        ("routing information's end", 347),
        ("payload", 348),
        ("payload's end", 385),
    ];
    let whole = Packet::new("acknowledgement", 259, 4, PacketSize::AckPacket.payload_size());
    let bytes = whole.build(world, 0);
    let route = &ROUTE[1..];
    travel(world, &bytes, route).expect("the good one arrives");
    let mut cases: Vec<_> = PLACES
        .iter()
        .map(|(place, at)| {
            let mut broken = bytes.clone();
            broken[*at] ^= 1;
            let stopped = travel(world, &broken, route).err().expect("damage shows");
            json!({
                "desc": format!("bit of the {place}"), "route": route, "packet": hex(broken),
                "reject_at_hop": stopped.hop, "error": stopped.error,
            })
        })
        .collect();
    for len in [0, 347, 364] {
        let stopped = travel(world, &bytes[..len], route).err().expect("too short");
        cases.push(json!({
            "desc": format!("cut to {len} bytes"), "route": route, "packet": hex(&bytes[..len]),
            "reject_at_hop": stopped.hop, "error": stopped.error,
        }));
    }
    let wrong = [MIXES[0], MIXES[1], MIXES[2], BOBS_GATEWAY];
    let stopped = travel(world, &bytes, &wrong).err().expect("not for this node");
    cases.push(json!({
        "desc": "packet for another node", "route": wrong, "packet": hex(&bytes),
        "reject_at_hop": stopped.hop, "error": stopped.error,
    }));
    cases
}

pub fn groups(world: &World) -> Groups {
    let sphinx = packets().into_iter().enumerate().map(|(number, packet)| packet.describe(world, number));
    vec![("sphinx", sphinx.collect()), ("sphinx_damaged", damaged(world))]
}
