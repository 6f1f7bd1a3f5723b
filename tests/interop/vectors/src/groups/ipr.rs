//! IP packet router: requests and responses of versions 8, 9 and 10, stream frames, bundles.

use super::Groups;
use crate::document::{hex, merge, pattern, sha256};
use crate::world::World;
use bytes::{Bytes, BytesMut};
use nym_bin_common::build_information::BinaryBuildInformationOwned;
use nym_ip_packet_requests::codec::{IprPacket, MultiIpPacketCodec};
use nym_ip_packet_requests::{v10, v8, IpPair};
use nym_lp_data::packet::frame::{LpFrame, LpFrameKind, SphinxStreamFrameAttributes, SphinxStreamMsgType};
use nym_service_provider_requests_common::{Protocol, ServiceProviderType};
use nym_sphinx::receiver::ReconstructedMessage;
use serde_json::{json, Value};
use time::OffsetDateTime;
use tokio_util::codec::{Decoder, Encoder};
use v8::request::{
    ConnectRequest, ControlRequest, DataRequest, DisconnectRequest, HealthRequest, IpPacketRequest,
    IpPacketRequestData, PingRequest,
};
use v8::response::{
    ConnectFailureReason, ConnectResponse, ConnectResponseReply, ConnectSuccess, ControlResponse, DataResponse,
    DisconnectFailureReason, DisconnectResponse, DisconnectResponseReply, HealthResponse, HealthResponseReply,
    InfoLevel, InfoResponse, InfoResponseReply, IpPacketResponse, IpPacketResponseData, PongResponse,
    UnrequestedDisconnect, UnrequestedDisconnectReason,
};

const VERSIONS: [u8; 3] = [8, 9, 10];
/// Every length of the number's encoding.
const IDS: [u64; 8] = [0, 1, 250, 251, 65_535, 65_536, u32::MAX as u64 + 1, u64::MAX];

/// Unix seconds and nanoseconds: around a leap day, both lengths of the day's number, both ends of a year.
const TIMES: [(i64, u32); 8] = [
    (0, 0),
    (1_704_113_999, 500_000_000),
    (1_709_164_800, 1),
    (1_709_251_199, 999_999_999),
    (1_725_580_799, 250),
    (1_725_667_200, 251),
    (1_735_689_599, 65_536),
    (1_778_912_872, 123_456_789),
];

fn timestamp((seconds, nanos): (i64, u32)) -> OffsetDateTime {
    let second = OffsetDateTime::from_unix_timestamp(seconds).expect("a date");
    second.replace_nanosecond(nanos).expect("below a second")
}

fn request(version: u8, data: IpPacketRequestData) -> IpPacketRequest {
    IpPacketRequest { protocol: Protocol::new(version, ServiceProviderType::IpPacketRouter), data }
}

/// As the router reads a message that the mixnet delivered.
pub fn read_request(bytes: &[u8]) -> Result<IpPacketRequest, String> {
    let message = ReconstructedMessage { message: bytes.to_vec(), sender_tag: None };
    IpPacketRequest::from_reconstructed_message(&message).map_err(|error| error.to_string())
}

pub fn control_request(
    version: u8,
    kind: &str,
    request_id: u64,
    time: (i64, u32),
    buffer_timeout: Option<u64>,
) -> IpPacketRequest {
    let timestamp = timestamp(time);
    let control = match kind {
        "connect" => ControlRequest::Connect(ConnectRequest { request_id, buffer_timeout, timestamp }),
        "disconnect" => ControlRequest::Disconnect(DisconnectRequest { request_id, timestamp }),
        "ping" => ControlRequest::Ping(PingRequest { request_id, timestamp }),
        "health" => ControlRequest::Health(HealthRequest { request_id, timestamp }),
        _ => panic!("unknown kind {kind}"),
    };
    request(version, IpPacketRequestData::Control(Box::new(control)))
}

pub fn data_request(version: u8, bundle: Vec<u8>) -> IpPacketRequest {
    request(version, IpPacketRequestData::Data(DataRequest { ip_packets: bundle.into() }))
}

pub fn data_response(version: u8, bundle: Vec<u8>) -> Vec<u8> {
    let data = IpPacketResponseData::Data(DataResponse { ip_packet: bundle.into() });
    IpPacketResponse { version, data }.to_bytes().expect("encodes")
}

fn control(version: u8, kind: &str, id: u64, time: (i64, u32), timeout: Option<u64>) -> Value {
    let request = control_request(version, kind, id, time, timeout);
    let bytes = request.to_bytes().expect("encodes");
    assert_eq!(read_request(&bytes), Ok(request));
    json!({
        "version": version, "kind": kind, "request_id": id.to_string(), "unix": time.0, "nanosecond": time.1,
        "buffer_timeout_ms": timeout.map(|ms| ms.to_string()), "bytes": hex(bytes),
    })
}

fn requests() -> Vec<Value> {
    let mut cases = vec![];
    for version in VERSIONS {
        for (number, kind) in ["connect", "disconnect", "ping", "health"].iter().enumerate() {
            cases.extend(
                (0..8)
                    .filter(|i| i % 4 == number % 4 || *kind == "connect")
                    .map(|i| control(version, kind, IDS[i], TIMES[i], None)),
            );
        }
        for timeout in [0, 20, 251, u64::MAX] {
            cases.push(control(version, "connect", 1, TIMES[1], Some(timeout)));
        }
        for len in [0, 1, 250, 251, 1500, 65_535, 65_536] {
            let request = data_request(version, pattern(len, len as usize));
            let bytes = request.to_bytes().expect("encodes");
            assert_eq!(read_request(&bytes), Ok(request));
            let head = &bytes[..bytes.len() - len as usize];
            cases.push(json!({
                "version": version, "kind": "data", "bundle_len": len, "head": hex(head), "sha256": sha256(&bytes),
            }));
        }
    }
    cases
}

fn refused_requests() -> Vec<Value> {
    let list = [
        ("empty", ""),
        ("version only", "09"),
        ("provider 0", "0900000100"),
        ("provider 3", "0903000100"),
        ("variant 2", "0901020100"),
        ("control variant 4", "09010104017b"),
        ("no timestamp", "090101027b"),
        ("flag 2", "090101007b02fb0fd0010c3b3b00000000"),
        ("day 0", "090101027bfb0fd0000c3b3b00000000"),
        ("day 366 of 2023", "090101027bfb0fcefb016e0c3b3b00000000"),
        ("hour 24", "090101027bfb0fd001183b3b00000000"),
        ("second 60", "090101027bfb0fd0010c3b3c00000000"),
        ("nanosecond 1000000000", "090101027bfb0fd0010c3b3bfc3b9aca00000000"),
        ("offset of 26 hours", "090101027bfb0fd0010c3b3b001a0000"),
        ("trailing byte", "090101027bfb0fd0010c3b3b0000000000"),
        ("data cut", "090100050102"),
        ("data with trailing byte", "09010001aabb"),
        ("number with mark fe", "09010102fe00"),
        ("number cut", "09010102fd0000"),
        ("number too large for a day", "090101027bfb0fd0fc000100000c3b3b00000000"),
    ];
    let case = |(desc, text): &(&str, &str)| {
        let result = read_request(&hex::decode(text).expect("hex"));
        match result {
            // provider types are told apart later
            Ok(read) => {
                assert_ne!(
                    read.protocol.service_provider_type,
                    ServiceProviderType::IpPacketRouter,
                    "{desc} is accepted"
                );
                json!({ "desc": desc, "bytes": text, "error": "not for an IP packet router" })
            }
            Err(error) => json!({ "desc": desc, "bytes": text, "error": error }),
        }
    };
    list.iter().map(case).collect()
}

pub fn response(version: u8, control: ControlResponse) -> Vec<u8> {
    let data = IpPacketResponseData::Control(Box::new(control));
    IpPacketResponse { version, data }.to_bytes().expect("encodes")
}

/// Read with the code for the version in its first byte, as a client does that has spoken this version.
pub fn read_response(bytes: &[u8]) -> Result<(), String> {
    let result = match bytes.first() {
        Some(10) => v10::response::IpPacketResponse::from_bytes(bytes).map(drop),
        _ => IpPacketResponse::from_bytes(bytes).map(drop),
    };
    result.map_err(|error| error.to_string())
}

pub fn connected_bytes(version: u8, request_id: u64, ips: IpPair, mtu: u16) -> Vec<u8> {
    if version < 10 {
        let reply = ConnectResponseReply::Success(ConnectSuccess { ips });
        return response(version, ControlResponse::Connect(ConnectResponse { request_id, reply }));
    }
    let reply = v10::response::ConnectResponseReply::Success(v10::response::ConnectSuccess { ips, mtu });
    let connect = v10::response::ConnectResponse { request_id, reply };
    let control = Box::new(v10::response::ControlResponse::Connect(connect));
    let data = v10::response::IpPacketResponseData::Control(control);
    v10::response::IpPacketResponse { version, data }.to_bytes().expect("encodes")
}

fn connected(version: u8, id: u64, pair: IpPair, mtu: u16) -> Value {
    json!({
        "version": version, "kind": "connect", "ok": true, "request_id": id.to_string(),
        "ipv4": hex(pair.ipv4.octets()),
        "ipv6": hex(pair.ipv6.octets()), "mtu": if version < 10 { 0 } else { mtu },
        "bytes": hex(connected_bytes(version, id, pair, mtu)),
    })
}

/// A response without its version byte is the same in all versions.
fn plain(version: u8, what: Value, control: ControlResponse) -> Value {
    merge(what, json!({ "version": version, "bytes": hex(response(version, control)) }))
}

fn build() -> BinaryBuildInformationOwned {
    let text = |name: &str| name.to_string();
    BinaryBuildInformationOwned {
        binary_name: text("nym-node"),
        build_timestamp: text("2026-05-16T00:00:00Z"),
        build_version: text("1.31.0"),
        commit_sha: text("daed9cd15bc0e5866cf0bf2322336dac5e89ca19"),
        commit_timestamp: text(""),
        commit_branch: text("b\u{e4}um"),
        rustc_version: text("1.95.0"),
        rustc_channel: text("stable"),
        cargo_profile: text("release"),
        cargo_triple: "x".repeat(300),
    }
}

fn build_strings(build: &BinaryBuildInformationOwned) -> Vec<&str> {
    vec![
        &build.binary_name,
        &build.build_timestamp,
        &build.build_version,
        &build.commit_sha,
        &build.commit_timestamp,
        &build.commit_branch,
        &build.rustc_version,
        &build.rustc_channel,
        &build.cargo_profile,
        &build.cargo_triple,
    ]
}

fn failures(version: u8) -> Vec<Value> {
    let long = "no room; ".repeat(40);
    let connect = [
        ConnectFailureReason::ClientAlreadyConnected,
        ConnectFailureReason::NoAvailableIp,
        ConnectFailureReason::Other(long.clone()),
    ];
    let disconnect = [DisconnectFailureReason::ClientNotConnected, DisconnectFailureReason::Other("\u{20ac}".into())];
    let unrequested = [
        UnrequestedDisconnectReason::ClientMixnetTrafficTimeout,
        UnrequestedDisconnectReason::ClientTunTrafficTimeout,
        UnrequestedDisconnectReason::Other(String::new()),
    ];
    let mut cases = vec![];
    for (reason, why) in connect.into_iter().enumerate() {
        let id = IDS[reason];
        let what = json!({
            "kind": "connect", "ok": false, "request_id": id.to_string(), "reason": reason, "display": why.to_string(),
        });
        cases.push(plain(
            version,
            what,
            ControlResponse::Connect(ConnectResponse { request_id: id, reply: ConnectResponseReply::Failure(why) }),
        ));
    }
    for (reason, why) in disconnect.into_iter().enumerate() {
        let id = IDS[reason + 3];
        let what = json!({
            "kind": "disconnect", "ok": false, "request_id": id.to_string(), "reason": reason,
            "display": why.to_string(),
        });
        cases.push(plain(
            version,
            what,
            ControlResponse::Disconnect(DisconnectResponse {
                request_id: id,
                reply: DisconnectResponseReply::Failure(why),
            }),
        ));
    }
    for (number, reason) in unrequested.into_iter().enumerate() {
        let what = json!({ "kind": "unrequested_disconnect", "reason": number, "display": reason.to_string() });
        cases.push(plain(version, what, ControlResponse::UnrequestedDisconnect(UnrequestedDisconnect { reason })));
    }
    cases
}

fn infos(version: u8) -> Vec<Value> {
    let levels = || [InfoLevel::Info, InfoLevel::Warn, InfoLevel::Error];
    let replies = || {
        [
            InfoResponseReply::Generic { msg: "all well".into() },
            InfoResponseReply::VersionMismatch { request_version: 7, response_version: 10 },
            InfoResponseReply::ExitPolicyFilterCheckFailed { dst: "198.51.100.7:25".into() },
        ]
    };
    let mut cases = vec![];
    for (level, _) in levels().iter().enumerate() {
        for (number, reply) in replies().into_iter().enumerate() {
            let id = IDS[level];
            let what = json!({
                "kind": "info", "request_id": id.to_string(), "reply": number, "level": level,
                "display": reply.to_string(),
            });
            let level = levels().into_iter().nth(level).expect("three of them");
            cases.push(plain(version, what, ControlResponse::Info(InfoResponse { request_id: id, reply, level })));
        }
    }
    cases
}

fn responses() -> Vec<Value> {
    let pairs = [
        IpPair::new("10.0.18.52".parse().expect("IPv4"), "fc00::1234".parse().expect("IPv6")),
        IpPair::new("0.0.0.0".parse().expect("IPv4"), "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff".parse().expect("IPv6")),
    ];
    let mut cases = vec![];
    for version in VERSIONS {
        for (pair, (id, mtu)) in
            pairs.iter().cycle().zip([(0, 0), (IDS[7], 250), (IDS[3], 251), (IDS[6], 1420), (IDS[5], 65_535)])
        {
            cases.push(connected(version, id, *pair, mtu));
        }
        for id in IDS {
            let done = DisconnectResponse { request_id: id, reply: DisconnectResponseReply::Success };
            let disconnected = json!({ "kind": "disconnect", "ok": true, "request_id": id.to_string() });
            cases.push(plain(version, disconnected, ControlResponse::Disconnect(done)));
            let pong = json!({ "kind": "pong", "request_id": id.to_string() });
            cases.push(plain(version, pong, ControlResponse::Pong(PongResponse { request_id: id })));
        }
        for routable in [None, Some(false), Some(true)] {
            let health = HealthResponseReply { build_info: build(), routable };
            let what = json!({
                "kind": "health", "request_id": "7", "build": build_strings(&health.build_info), "routable": routable,
            });
            cases.push(plain(
                version,
                what,
                ControlResponse::Health(Box::new(HealthResponse { request_id: 7, reply: health })),
            ));
        }
        cases.extend(failures(version));
        cases.extend(infos(version));
        for len in [0, 1, 250, 251, 1500, 6000] {
            let bytes = data_response(version, pattern(len, len as usize));
            let head = &bytes[..bytes.len() - len as usize];
            cases.push(json!({
                "version": version, "kind": "data", "bundle_len": len, "head": hex(head), "sha256": sha256(&bytes),
            }));
        }
    }
    for case in &cases {
        if let Some(bytes) = case["bytes"].as_str() {
            read_response(&hex::decode(bytes).expect("hex")).expect("the crate reads what it wrote");
        }
    }
    cases
}

fn refused_responses() -> Vec<Value> {
    let pair = "0a001234fc000000000000000000000000001234";
    let list = [
        ("version only".to_string(), "09".to_string()),
        ("variant 2".into(), "0902".into()),
        ("control variant 6".into(), "0901067b".into()),
        ("v9 connect answer with MTU".into(), format!("0901007b00{pair}fb05dc")),
        ("v10 connect answer without MTU".into(), format!("0a01007b00{pair}")),
        ("MTU above 65535".into(), format!("0a01007b00{pair}fc00010000")),
        ("connect answer cut".into(), format!("0901007b00{}", &pair[..38])),
        ("connect reply 2".into(), "0901007b02".into()),
        ("connect reason 3".into(), "0901007b0103".into()),
        ("disconnect reason 2".into(), "0901017b0102".into()),
        ("unrequested reason 3".into(), "09010203".into()),
        ("reason that is not UTF-8".into(), "0901007b010201ff".into()),
        ("reason cut".into(), "0901007b0102046275".into()),
        ("pong with trailing byte".into(), "0901037b00".into()),
        ("pong without id".into(), "090103".into()),
        ("info reply 3".into(), "090105000300".into()),
        ("info level 3".into(), "0901050000000003".into()),
        ("health with 9 strings".into(), "0901047b00000000000000000000".into()),
        ("routable 2".into(), "0901047b000000000000000000000102".into()),
        ("option 2".into(), "0901047b0000000000000000000002".into()),
        ("data cut".into(), "0900050102".into()),
        ("data with trailing byte".into(), "090001aabb".into()),
    ];
    let case = |(desc, text): &(String, String)| {
        let error =
            read_response(&hex::decode(text).expect("hex")).err().unwrap_or_else(|| panic!("{desc} is accepted"));
        json!({ "desc": desc, "bytes": text, "error": error })
    };
    list.iter().map(case).collect()
}

fn lp_frames() -> Vec<Value> {
    let kinds = [
        (SphinxStreamMsgType::Open, 0, 0),
        (SphinxStreamMsgType::Data, 0, 40),
        (SphinxStreamMsgType::Data, 1, 1428),
        (SphinxStreamMsgType::Data, u32::MAX, 1),
    ];
    let stream = |(msg_type, sequence_num, len): &(SphinxStreamMsgType, u32, usize)| {
        let attributes = SphinxStreamFrameAttributes {
            stream_id: 0x1122_3344_5566_7788 ^ *sequence_num as u64,
            msg_type: *msg_type,
            sequence_num: *sequence_num,
        };
        let mut bytes = BytesMut::new();
        LpFrame::new_stream(attributes, pattern(*len as u32, *len)).encode(&mut bytes);
        assert_eq!(LpFrame::decode(&bytes).map(|frame| frame.content.len()).ok(), Some(*len));
        json!({
            "stream": true, "stream_id": attributes.stream_id.to_string(), "msg_type": *msg_type as u8,
            "sequence": sequence_num,
            "payload_len": len, "head": hex(&bytes[..16]), "sha256": sha256(&bytes),
        })
    };
    let mut cases: Vec<_> = kinds.iter().map(stream).collect();
    // the reserved byte is not looked at
    cases.push(json!({
        "stream": true, "reserved": true, "stream_id": "1", "msg_type": 1, "sequence": 2, "payload_len": 0,
        "head": "0300000000000000000101000000025a",
    }));
    for (desc, text) in [
        ("too short", "030000000000000000010100000002"),
        ("opaque", "00000000000000000000000000000000"),
        ("registration", "01000000000000000000000000000000"),
        ("forward", "02000000000000000000000000000000"),
        ("kind 4", "04000000000000000000000000000000"),
        ("kind in the other byte order", "00030000000000000001010000000200"),
        ("bare version 8", "0801010200000000000000000000000000"),
        ("message type 2", "03000000000000000001020000000200"),
    ] {
        let bytes = hex::decode(text).expect("hex");
        let stream = LpFrame::decode(&bytes).map_err(|error| error.to_string()).and_then(|frame| match frame.kind() {
            LpFrameKind::SphinxStream => {
                SphinxStreamFrameAttributes::parse(&frame.header.frame_attributes).map_err(|error| error.to_string())
            }
            kind => Err(format!("{kind:?}")),
        });
        cases.push(json!({ "desc": desc, "stream": false, "head": text, "error": stream.expect_err(desc) }));
    }
    cases
}

/// What leaves for each packet of these sizes, and what is left to flush. Packet i follows pattern i.
fn bundles() -> Vec<Value> {
    let lists: [&[usize]; 9] = [
        &[],
        &[40],
        &[1498],
        &[1499],
        &[600, 600, 400],
        &[40, 1500],
        &[1498, 1498],
        &[40, 40, 40, 1372, 1],
        &[2000, 1, 2000],
    ];
    let case = |sizes: &&[usize]| {
        let mut codec = MultiIpPacketCodec::new();
        let (mut emitted, mut stream) = (vec![], BytesMut::new());
        let packets: Vec<Bytes> = sizes.iter().enumerate().map(|(i, size)| pattern(i as u32, *size).into()).collect();
        for packet in packets.iter().map(|packet| IprPacket::Data(packet.clone())).chain([IprPacket::Flush]) {
            let mut out = BytesMut::new();
            codec.encode(packet, &mut out).expect("encodes");
            emitted.push(out.len());
            stream.extend_from_slice(&out);
        }
        let whole = stream.to_vec();
        let mut decoded = vec![];
        while let Some(IprPacket::Data(packet)) = codec.decode(&mut stream).expect("decodes") {
            decoded.push(packet);
        }
        assert_eq!(decoded, packets);
        json!({ "sizes": sizes, "emitted": emitted, "sha256": sha256(whole) })
    };
    lists.iter().map(case).collect()
}

pub fn groups(_: &World) -> Groups {
    vec![
        ("ipr_requests", requests()),
        ("ipr_requests_refused", refused_requests()),
        ("ipr_responses", responses()),
        ("ipr_responses_refused", refused_responses()),
        ("lp_frames", lp_frames()),
        ("bundles", bundles()),
    ]
}
