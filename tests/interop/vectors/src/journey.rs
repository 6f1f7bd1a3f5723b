//! A packet's way through the nodes, with the reference's own processing.

use crate::document::{hex, sha256};
use crate::tape::Tape;
use crate::world::World;
use nym_sphinx_types::{Destination, ProcessedPacketData, SphinxPacket};
use serde_json::{json, Value};

pub struct Journey {
    pub delays: Vec<u64>,
    pub hops: Vec<Value>,
    pub version: u16,
    pub destination: Destination,
    pub plaintext: Vec<u8>,
}

/// What went wrong where.
#[derive(Debug)]
pub struct Stopped {
    pub hop: usize,
    pub error: String,
}

pub fn travel(world: &World, packet: &[u8], route: &[usize]) -> Result<Journey, Stopped> {
    let mut bytes = packet.to_vec();
    let (mut delays, mut hops) = (vec![], vec![]);

    for (hop, at) in route.iter().enumerate() {
        let stopped = |error: nym_sphinx_types::SphinxError| Stopped { hop, error: error.to_string() };
        let arrived = SphinxPacket::from_bytes(&bytes).map_err(stopped)?;
        let secret = arrived.header.compute_expanded_shared_secret(&world.nodes[*at].sphinx);
        let tag = hex(secret.replay_tag());
        let processed = arrived.process_with_expanded_secret(&secret).map_err(stopped)?;
        let version = processed.version.value();
        match processed.data {
            ProcessedPacketData::ForwardHop { next_hop_packet, next_hop_address, delay } => {
                let next = route.get(hop + 1).expect("the route does not end here");
                assert_eq!(next_hop_address, world.nodes[*next].hop().address);
                delays.push(delay.to_nanos());
                bytes = next_hop_packet.to_bytes();
                hops.push(json!({ "replay_tag": tag, "packet_sha256": sha256(&bytes) }));
            }
            ProcessedPacketData::FinalHop { destination, identifier, payload } => {
                assert_eq!(hop + 1, route.len(), "the route ends here");
                hops.push(json!({ "replay_tag": tag }));
                let plaintext = payload.recover_plaintext().map_err(stopped)?;
                let destination = Destination::new(destination, identifier);
                return Ok(Journey { delays, hops, version, destination, plaintext });
            }
        }
    }
    panic!("the last node of the route is not the last hop");
}

/// Everything needed to make the packet's header again. x and the padding are the next draws on the tape.
pub fn header(journey: &Journey, route: &[usize]) -> Value {
    let x = Tape::from_system(32);
    let padding = Tape::from_system(248 - 60 * (route.len() - 1));
    json!({
        "version": journey.version,
        "route": route,
        "delays_ns": journey.delays,
        "destination": hex(journey.destination.address.as_bytes()),
        "x": hex(x),
        "final_padding": hex(padding),
    })
}
