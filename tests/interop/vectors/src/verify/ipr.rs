//! IPR messages: the reference's encoding of what we meant must be ours, and it must be able to read ours.

use super::{array, bytes, int, list, long, same, text, About, Checked};
use crate::groups::ipr::{
    connected_bytes, control_request, data_request, data_response, read_request, read_response, response,
};
use bytes::BytesMut;
use nym_bin_common::build_information::BinaryBuildInformationOwned;
use nym_ip_packet_requests::codec::{IprPacket, MultiIpPacketCodec};
use nym_ip_packet_requests::v8::response::{
    ConnectFailureReason, ConnectResponse, ConnectResponseReply, ControlResponse, DisconnectFailureReason,
    DisconnectResponse, DisconnectResponseReply, HealthResponse, HealthResponseReply, InfoLevel, InfoResponse,
    InfoResponseReply, PongResponse, UnrequestedDisconnect, UnrequestedDisconnectReason,
};
use nym_ip_packet_requests::IpPair;
use nym_lp_data::packet::frame::{LpFrame, LpFrameKind, SphinxStreamFrameAttributes};
use serde_json::Value;
use tokio_util::codec::{Decoder, Encoder};

pub fn requests(document: &Value) -> Checked {
    let cases = list(document, "ipr_requests");
    for case in cases {
        let version = int(case, "version") as u8;
        let request = match text(case, "kind") {
            "data" => data_request(version, bytes(case, "bundle")),
            kind => {
                let time = (int(case, "unix"), int(case, "nanosecond") as u32);
                let timeout = case["buffer_timeout_ms"].is_string().then(|| long(case, "buffer_timeout_ms"));
                control_request(version, kind, long(case, "request_id"), time, timeout)
            }
        };
        let ours = bytes(case, "bytes");
        same(case, read_request(&ours).about(case)?, request.clone())?;
        same(case, ours, request.to_bytes().about(case)?)?;
    }
    Ok(cases.len())
}

fn build(case: &Value) -> BinaryBuildInformationOwned {
    let mut strings = list(case, "build").iter().map(|string| string.as_str().expect("a text").to_string());
    let mut next = || strings.next().expect("ten texts");
    BinaryBuildInformationOwned {
        binary_name: next(),
        build_timestamp: next(),
        build_version: next(),
        commit_sha: next(),
        commit_timestamp: next(),
        commit_branch: next(),
        rustc_version: next(),
        rustc_channel: next(),
        cargo_profile: next(),
        cargo_triple: next(),
    }
}

fn control_response(case: &Value) -> ControlResponse {
    let request_id = long(case, "request_id");
    let words = text(case, "text").to_string();
    match (text(case, "kind"), int(case, "reason")) {
        ("connect failed", reason) => {
            let reasons = [
                ConnectFailureReason::ClientAlreadyConnected,
                ConnectFailureReason::NoAvailableIp,
                ConnectFailureReason::Other(words),
            ];
            let reply = ConnectResponseReply::Failure(reasons[reason as usize].clone());
            ControlResponse::Connect(ConnectResponse { request_id, reply })
        }
        ("disconnected", _) => {
            ControlResponse::Disconnect(DisconnectResponse { request_id, reply: DisconnectResponseReply::Success })
        }
        ("disconnect failed", reason) => {
            let reasons = [DisconnectFailureReason::ClientNotConnected, DisconnectFailureReason::Other(words)];
            let reply = DisconnectResponseReply::Failure(reasons[reason as usize].clone());
            ControlResponse::Disconnect(DisconnectResponse { request_id, reply })
        }
        ("unrequested disconnect", reason) => {
            let reasons = [
                UnrequestedDisconnectReason::ClientMixnetTrafficTimeout,
                UnrequestedDisconnectReason::ClientTunTrafficTimeout,
                UnrequestedDisconnectReason::Other(words),
            ];
            ControlResponse::UnrequestedDisconnect(UnrequestedDisconnect { reason: reasons[reason as usize].clone() })
        }
        ("pong", _) => ControlResponse::Pong(PongResponse { request_id }),
        ("health", _) => {
            let routable = [None, Some(false), Some(true)][(int(case, "routable") + 1) as usize];
            let reply = HealthResponseReply { build_info: build(case), routable };
            ControlResponse::Health(Box::new(HealthResponse { request_id, reply }))
        }
        ("info", _) => {
            let versions: [u8; 2] = array(case, "versions");
            let replies = [
                InfoResponseReply::Generic { msg: words.clone() },
                InfoResponseReply::VersionMismatch { request_version: versions[0], response_version: versions[1] },
                InfoResponseReply::ExitPolicyFilterCheckFailed { dst: words },
            ];
            let levels = [InfoLevel::Info, InfoLevel::Warn, InfoLevel::Error];
            let reply = replies[int(case, "reply") as usize].clone();
            ControlResponse::Info(InfoResponse {
                request_id,
                reply,
                level: levels[int(case, "level") as usize].clone(),
            })
        }
        (kind, _) => panic!("unknown kind {kind}"),
    }
}

pub fn responses(document: &Value) -> Checked {
    let cases = list(document, "ipr_responses");
    for case in cases {
        let version = int(case, "version") as u8;
        let theirs = match text(case, "kind") {
            "data" => data_response(version, bytes(case, "bundle")),
            "connected" => {
                let pair = IpPair::new(array::<4>(case, "ipv4").into(), array::<16>(case, "ipv6").into());
                connected_bytes(version, long(case, "request_id"), pair, int(case, "mtu") as u16)
            }
            _ => response(version, control_response(case)),
        };
        let ours = bytes(case, "bytes");
        read_response(&ours).about(case)?;
        same(case, ours, theirs)?;
    }
    Ok(cases.len())
}

pub fn lp_frames(document: &Value) -> Checked {
    let cases = list(document, "lp_frames");
    for case in cases {
        let frame = LpFrame::decode(&bytes(case, "frame")).about(case)?;
        same("kind", frame.kind(), LpFrameKind::SphinxStream)?;
        let attributes = SphinxStreamFrameAttributes::parse(&frame.header.frame_attributes).about(case)?;
        same("stream", attributes.stream_id, long(case, "stream_id"))?;
        same("type", attributes.msg_type as i64, int(case, "msg_type"))?;
        same("sequence", attributes.sequence_num as i64, int(case, "sequence"))?;
        same("payload", frame.content.to_vec(), bytes(case, "payload"))?;
    }
    Ok(cases.len())
}

pub fn bundles(document: &Value) -> Checked {
    let cases = list(document, "bundles");
    for case in cases {
        let mut codec = MultiIpPacketCodec::new();
        let packets: Vec<_> = list(case, "packets").iter().map(|packet| bytes(packet, "bytes")).collect();
        let mut bundles = list(case, "bundles").iter().map(|bundle| bytes(bundle, "bytes"));
        let pushes = packets.iter().map(|packet| IprPacket::from(packet.clone())).chain([IprPacket::Flush]);
        let mut stream = BytesMut::new();
        for push in pushes {
            let mut theirs = BytesMut::new();
            codec.encode(push, &mut theirs).about("bundle")?;
            let ours = bundles.next().ok_or("a bundle is missing")?;
            same("bundle", &ours[..], &theirs[..])?;
            stream.extend_from_slice(&ours);
        }
        for packet in packets {
            let decoded = codec.decode(&mut stream).about("bundle")?.ok_or("a packet is missing")?;
            same("packet in a bundle", decoded.as_bytes(), &packet[..])?;
        }
    }
    Ok(cases.len())
}
