//! The nodes of the document, and what nodes see: frames, forward requests, Sphinx packets.

use super::{array, bytes, flag, int, list, same, About, Checked};
use crate::document::pattern;
use bytes::BytesMut;
use nym_sphinx::addressing::nodes::NymNodeRoutingAddress;
use nym_sphinx::forwarding::packet::MixPacket;
use nym_sphinx::framing::codec::NymCodec;
use nym_sphinx::framing::packet::FramedNymPacket;
use nym_sphinx::framing::processing::{process_framed_packet, MixProcessingResultData, ProcessedFinalHop};
use nym_sphinx::params::{PacketSize, PacketType, SphinxKeyRotation};
use nym_sphinx_types::{NymPacket, PrivateKey, ProcessedPacketData, SphinxPacket};
use serde_json::Value;
use std::collections::HashMap;
use tokio_util::codec::{Decoder, Encoder};

pub struct Network {
    secrets: HashMap<NymNodeRoutingAddress, PrivateKey>,
}

impl Network {
    pub fn new(document: &Value) -> Self {
        let node = |node: &Value| {
            let address = NymNodeRoutingAddress::try_from_bytes(&bytes(node, "address")).expect("an address");
            (address, PrivateKey::from(array::<32>(node, "sphinx_private")))
        };
        Network { secrets: list(document, "nodes").iter().map(node).collect() }
    }

    /// From node to node in frames, as the reference's nodes handle them, up to the last gateway.
    pub fn carry(&self, packet: MixPacket, legacy_frames: bool) -> Result<ProcessedFinalHop, String> {
        let mut packet = packet;
        loop {
            let secret = self.secrets.get(&packet.next_hop()).ok_or("the next hop is no node of ours")?;
            let mut frame = BytesMut::new();
            NymCodec.encode(FramedNymPacket::from_mix_packet(packet, legacy_frames), &mut frame).about("frame")?;
            let arrived = NymCodec.decode(&mut frame).about("frame")?.ok_or("the frame is not whole")?;
            match process_framed_packet(arrived, secret).about("processing")?.processing_data {
                MixProcessingResultData::ForwardHop { packet: next, .. } => packet = next,
                MixProcessingResultData::FinalHop { final_hop_data } => return Ok(final_hop_data),
            }
        }
    }
}

pub fn mix_frames(document: &Value) -> Checked {
    let cases = list(document, "mix_frames");
    // all in one stream, as a connection brings them
    let mut stream = BytesMut::new();
    cases.iter().for_each(|case| stream.extend_from_slice(&bytes(case, "frame")));
    for (number, case) in cases.iter().enumerate() {
        let frame = NymCodec.decode(&mut stream).about(number)?.ok_or("a frame is missing")?;
        same("packet", frame.packet().to_bytes().about(number)?, bytes(case, "packet"))?;
        same("version", frame.header().packet_version.as_u8() as i64, int(case, "version"))?;
        same("rotation", frame.key_rotation() as i64, int(case, "rotation"))?;
        same("size", frame.packet_size() as i64, int(case, "size"))?;
    }
    same("end of the stream", stream.len(), 0)?;
    Ok(cases.len())
}

pub fn forward_requests(document: &Value) -> Checked {
    let cases = list(document, "forward_requests");
    for case in cases {
        let request = bytes(case, "request");
        let read = if flag(case, "v2") {
            MixPacket::try_from_v2_bytes(&request)
        } else {
            MixPacket::try_from_v1_bytes(&request)
        };
        let read = read.about("request")?;
        let hop = NymNodeRoutingAddress::try_from_bytes(&bytes(case, "first_hop")).about("first hop")?;
        same("first hop", read.next_hop(), hop)?;
        same("rotation", read.key_rotation() as i64, int(case, "rotation"))?;
        same("packet", read.packet().to_bytes().about("packet")?, bytes(case, "packet"))?;
    }
    Ok(cases.len())
}

pub fn sphinx(document: &Value) -> Checked {
    let nodes = list(document, "nodes");
    let cases = list(document, "sphinx");
    for (number, case) in cases.iter().enumerate() {
        let mut packet = bytes(case, "packet");
        let (route, delays) = (list(case, "route"), list(case, "delays_ns"));
        for (hop, at) in route.iter().enumerate() {
            let secret =
                PrivateKey::from(array::<32>(&nodes[at.as_u64().expect("a position") as usize], "sphinx_private"));
            let arrived = SphinxPacket::from_bytes(&packet).about(number)?;
            let processed = arrived.process(&secret).about(format!("packet {number}, hop {hop}"))?;
            same("version", processed.version.value() as i64, int(case, "version"))?;
            match processed.data {
                ProcessedPacketData::ForwardHop { next_hop_packet, next_hop_address, delay } => {
                    let next = route.get(hop + 1).ok_or("the packet goes on behind its route")?;
                    let address = bytes(&nodes[next.as_u64().expect("a position") as usize], "address");
                    same("next address", next_hop_address.to_bytes().to_vec(), address)?;
                    same("delay", Some(delay.to_nanos()), delays[hop].as_u64())?;
                    packet = next_hop_packet.to_bytes();
                }
                ProcessedPacketData::FinalHop { destination, identifier, payload } => {
                    same("last hop", hop + 1, route.len())?;
                    same("destination", destination.as_bytes().to_vec(), bytes(case, "destination"))?;
                    same("identifier", identifier, [0; 16])?;
                    let message = pattern(int(case, "pattern") as u32, int(case, "message_len") as usize);
                    same("message", payload.recover_plaintext().about(number)?, message)?;
                }
            }
        }
    }
    Ok(cases.len())
}

/// A packet for a SURB or an acknowledgement that nobody gave a frame yet.
pub fn mix_packet(hop: NymNodeRoutingAddress, packet: NymPacket) -> MixPacket {
    assert!(PacketSize::get_type(packet.len()).is_ok());
    MixPacket::new(hop, packet, PacketType::Mix, SphinxKeyRotation::Unknown)
}
