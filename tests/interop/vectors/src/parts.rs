//! Acknowledgements and reply SURBs, with what is needed to make them again. Both take their random inputs from the
//! tape right after they were made, in the order in which the crates draw them.

use crate::document::{hex, merge, sha256};
use crate::journey::{header, travel};
use crate::tape::Tape;
use crate::world::{World, ALICES_GATEWAY, BOBS_GATEWAY, MIXES};
use nym_sphinx::acknowledgements::identifier::recover_identifier;
use nym_sphinx::acknowledgements::AckKey;
use nym_sphinx::addressing::nodes::MAX_NODE_ADDRESS_UNPADDED_LEN;
use nym_sphinx::anonymous_replies::ReplySurb;
use nym_sphinx::params::{PacketSize, PacketType};
use serde_json::{json, Value};
use std::time::Duration;

pub const DELAY: Duration = Duration::from_millis(15);
pub const ACK_PREFIX: usize = MAX_NODE_ADDRESS_UNPADDED_LEN + PacketSize::AckPacket.size();

/// Positions of the nodes towards a client's gateway.
pub fn route_to(gateway: usize, mix_hops: bool) -> Vec<usize> {
    if mix_hops {
        [&MIXES[..], &[gateway]].concat()
    } else {
        vec![gateway]
    }
}

pub fn to_alice(mix_hops: bool) -> Vec<usize> {
    route_to(ALICES_GATEWAY, mix_hops)
}

pub fn to_bob(mix_hops: bool) -> Vec<usize> {
    route_to(BOBS_GATEWAY, mix_hops)
}

/// `prefix` is what stands in front of a payload: first hop and packet.
pub fn describe_ack(world: &World, prefix: &[u8], route: &[usize], key: &AckKey) -> Value {
    let packet = &prefix[MAX_NODE_ADDRESS_UNPADDED_LEN..];
    let journey = travel(world, packet, route).expect("the acknowledgement arrives");
    let iv = Tape::from_generator(16);
    assert_eq!(iv, journey.plaintext[..16]);
    let id = recover_identifier(key, &journey.plaintext).expect("long enough");
    let case = json!({
        "ack_key": hex(key.to_bytes()),
        "iv": hex(iv),
        "fragment_id": hex(id),
        "plaintext": hex(&journey.plaintext),
        "prefix_sha256": sha256(prefix),
        "hops": journey.hops,
    });
    merge(case, header(&journey, route))
}

/// The bytes of a new reply SURB of alice's, and what is known about it.
pub fn new_surb(world: &World, legacy: bool, mix_hops: bool) -> (Vec<u8>, Value) {
    Tape::start();
    let surb = ReplySurb::construct(&mut Tape, &world.alice.recipient, DELAY, legacy, &world.routes, !mix_hops);
    let bytes = surb.expect("a valid topology").to_bytes();
    let size = PacketSize::RegularPacket;
    let used = ReplySurb::from_bytes(&bytes)
        .and_then(|surb| surb.apply_surb(vec![0; size.plaintext_size()], size, PacketType::Mix));
    let (packet, first_hop) = used.expect("a usable SURB");
    let route = to_alice(mix_hops);
    assert_eq!(first_hop, world.nodes[route[0]].routing_address());
    let journey = travel(world, &packet.to_bytes().expect("a Sphinx packet"), &route).expect("the reply arrives");
    let key = Tape::from_generator(16);
    let case = json!({
        "key": hex(&key),
        "key_digest": hex(ReplySurb::from_bytes(&bytes).expect("read before").encryption_key().compute_digest()),
        "bytes": hex(&bytes),
    });
    (bytes, merge(case, header(&journey, &route)))
}
