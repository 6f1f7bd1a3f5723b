//! Client and gateway: registration, login, control texts, binary frames, error texts.

use super::Groups;
use crate::document::{hex, merge, pattern, sha256};
use crate::line::{line, together, Line};
use crate::tape::Tape;
use crate::world::{identity, secret, World, ALICES_GATEWAY};
use nym_crypto::asymmetric::ed25519;
use nym_gateway_requests::registration::handshake::error::HandshakeError;
use nym_gateway_requests::registration::handshake::{client_handshake, gateway_handshake, HandshakeResult};
use nym_gateway_requests::text_request::authenticate::{AuthenticateRequest, AuthenticateRequestContent};
use nym_gateway_requests::{
    AuthenticationFailure, BandwidthResponse, BinaryRequest, BinaryResponse, ClientControlRequest, ClientRequest,
    GatewayRequestsError, RegistrationHandshake, SendResponse, SensitiveServerResponse, ServerResponse,
    SharedKeyUsageError, SharedSymmetricKey, SimpleGatewayRequestsError,
};
use nym_sphinx::forwarding::packet::MixPacket;
use nym_sphinx::params::{PacketType, SphinxKeyRotation};
use nym_sphinx_types::NymPacket;
use nym_statistics_common::types::SessionType;
use nym_task::ShutdownToken;
use rand::{CryptoRng, RngCore};
use serde_json::{json, Value};
use std::str::FromStr;
use time::OffsetDateTime;
use tungstenite::Message;

pub const LOGIN_TIME: u64 = 1_700_000_000;

fn text(message: Message) -> String {
    message.into_text().expect("a text")
}

fn request_text(request: ClientControlRequest) -> String {
    let text = text(request.into());
    ClientControlRequest::from_str(&text).expect("the crate reads what it wrote");
    text
}

fn response_text(response: ServerResponse) -> String {
    let text = text(response.into());
    ServerResponse::try_from(text.clone()).expect("the crate reads what it wrote");
    text
}

/// The gateway's side up to its end, from the client's first text on.
pub async fn gateway_side<R: CryptoRng + RngCore + Send>(
    random: &mut R,
    line: &mut Line,
    identity: &ed25519::KeyPair,
) -> Result<HandshakeResult, HandshakeError> {
    let hello = line.hear().await;
    let Ok(ClientControlRequest::RegisterHandshakeInitRequest { protocol_version, data }) = hello.parse() else {
        panic!("not a registration: {hello}");
    };
    gateway_handshake(random, line, identity, data, protocol_version, ShutdownToken::new()).await
}

fn data_of(text: &str) -> Vec<u8> {
    match text.parse() {
        Ok(RegistrationHandshake::HandshakePayload { data, .. }) => data,
        _ => panic!("not a handshake message: {text}"),
    }
}

fn handshake(world: &World, version: u8) -> Value {
    let gateway = &world.nodes[ALICES_GATEWAY].identity;
    let (mut client_line, mut gateway_line) = line();
    let (from_client, from_gateway) = (client_line.sent.clone(), gateway_line.sent.clone());
    Tape::start();
    let mut random = Tape;
    let client = client_handshake(
        &mut random,
        &mut client_line,
        &world.alice.identity,
        *gateway.public_key(),
        version,
        ShutdownToken::new(),
    );
    let mut tape = Tape;
    let (at_client, at_gateway) = together(client, gateway_side(&mut tape, &mut gateway_line, gateway));
    let (at_client, at_gateway) = (at_client.expect("registered"), at_gateway.expect("registered"));
    assert_eq!(at_client.derived_key, at_gateway.derived_key);

    let sent = |texts: &std::sync::Mutex<Vec<String>>| texts.lock().expect("no holder panics").clone();
    let (from_client, from_gateway) = (sent(&from_client), sent(&from_gateway));
    let [m1, m3] = [data_of(&from_client[0]), data_of(&from_client[1])];
    let [m2, m4] = [data_of(&from_gateway[0]), data_of(&from_gateway[1])];
    let client_ephemeral = Tape::from_generator(32);
    let salt = Tape::from_generator(16);
    let gateway_ephemeral = Tape::from_generator(32);
    let registered = ServerResponse::Register { protocol_version: version, status: true, upgrade_mode: false };
    json!({
        "version": version,
        "client_ephemeral_private": hex(client_ephemeral), "salt": hex(salt),
        "gateway_ephemeral_private": hex(gateway_ephemeral),
        "nonce_m2": hex(&m2[112..]), "nonce_m3": hex(&m3[80..]),
        "m1": hex(m1), "m2": hex(m2), "m3": hex(m3), "m4": hex(m4),
        "text_m1": from_client[0], "text_m2": from_gateway[0], "text_m3": from_client[1], "text_m4": from_gateway[1],
        "text_register": response_text(registered),
        "negotiated": at_client.negotiated_protocol, "shared_key": hex(at_client.derived_key.as_bytes()),
    })
}

/// A client that meets a gateway which does not play by the rules: what it answers and says.
fn refused_handshakes(world: &World) -> Vec<Value> {
    let gateway = &world.nodes[ALICES_GATEWAY].identity;
    let stranger = identity(secret(&mut Tape));
    let meet = |desc: &str, gateway_identity: &ed25519::KeyPair, change: &dyn Fn(&str) -> String| {
        let (mut client_line, mut gateway_line) = line();
        let from_client = client_line.sent.clone();
        Tape::start();
        let mut random = Tape;
        let client = client_handshake(
            &mut random,
            &mut client_line,
            &world.alice.identity,
            *gateway.public_key(),
            6,
            ShutdownToken::new(),
        );
        let other = async {
            // the honest gateway behind a hand that changes its first answer
            let (mut inner, mut outer) = line();
            let hello = gateway_line.hear().await;
            outer.say(&hello);
            let mut tape = Tape;
            let honest = gateway_side(&mut tape, &mut inner, gateway_identity);
            let forward = async {
                let answer = outer.hear().await;
                gateway_line.say(&change(&answer));
                outer.say(&gateway_line.hear().await);
                answer
            };
            futures::future::join(honest, forward).await.1
        };
        let (result, honest_m2) = together(client, other);
        let ephemeral = Tape::from_generator(32);
        let salt = Tape::from_generator(16);
        let sent = from_client.lock().expect("no holder panics").clone();
        json!({
            "desc": desc, "client_ephemeral_private": hex(ephemeral), "salt": hex(salt), "text_m2": change(&honest_m2),
            "text_answer": sent.last(), "error": result.expect_err(desc).to_string(),
        })
    };
    let with_data = |text: &str, edit: &dyn Fn(&mut Vec<u8>)| {
        let mut data = data_of(text);
        edit(&mut data);
        String::from(RegistrationHandshake::new_payload(data, 6))
    };
    vec![
        meet("signed by somebody else", &stranger, &|text| text.to_string()),
        meet("version of the future", gateway, &|text| RegistrationHandshake::new_payload(data_of(text), 7).into()),
        meet("one byte short", gateway, &|text| {
            with_data(text, &|data| {
                data.pop();
            })
        }),
        meet("another ephemeral key", gateway, &|text| with_data(text, &|data| data[0] ^= 1)),
        meet("damaged proof", gateway, &|text| with_data(text, &|data| data[40] ^= 1)),
    ]
}

pub fn shared_key() -> SharedSymmetricKey {
    SharedSymmetricKey::try_from_bytes(&secret(&mut Tape)).expect("32 bytes")
}

fn login(world: &World, key: &SharedSymmetricKey, version: u8, time: u64) -> Value {
    let client_identity = *world.alice.identity.public_key();
    let nonce = key.random_nonce();
    let address = client_identity.derive_destination_address();
    let content = AuthenticateRequestContent {
        protocol_version: version,
        client_identity,
        address_ciphertext: key.encrypt(address.as_bytes_ref(), &nonce).expect("encrypts"),
        nonce: nonce.to_vec(),
        request_unix_timestamp: time,
    };
    let plaintext = content.plaintext();
    let request_signature = world.alice.identity.private_key().sign(&plaintext);
    let request = AuthenticateRequest { content, request_signature };
    request.verify_signature().expect("signed by this client");
    request.verify_ciphertext(key).expect("sealed with this key");
    json!({
        "version": version, "timestamp": time, "shared_key": hex(key.as_bytes()), "nonce": hex(nonce),
        "signed_plaintext": hex(plaintext), "signature": hex(request.request_signature.to_bytes()),
        "text": request_text(ClientControlRequest::AuthenticateV2(Box::new(request))),
    })
}

fn logins(world: &World) -> Vec<Value> {
    let key = shared_key();
    [(4, 0), (5, LOGIN_TIME), (6, LOGIN_TIME), (6, 4_102_444_800)]
        .iter()
        .map(|(version, time)| login(world, &key, *version, *time))
        .collect()
}

fn sealed(key: &SharedSymmetricKey, plaintext: &[u8], text: String) -> Value {
    json!({ "shared_key": hex(key.as_bytes()), "plaintext_text": String::from_utf8_lossy(plaintext), "text": text })
}

/// ForgetMe, RememberMe and their answers.
fn encrypted_texts() -> Vec<Value> {
    use SessionType::{Mixnet, Native, Socks5, Unknown, Vpn, Wasm};
    let key = shared_key();
    let forget = [(true, false), (false, true), (true, true), (false, false)]
        .map(|(client, stats)| ClientRequest::ForgetMe { client, stats });
    let remember =
        [Vpn, Mixnet, Wasm, Native, Socks5, Unknown].map(|session_type| ClientRequest::RememberMe { session_type });
    let request = |request: &ClientRequest| {
        let plaintext = serde_json::to_vec(request).expect("encodes");
        let sealed_request = request.encrypt(&key).expect("encrypts");
        merge(json!({ "request": true }), sealed(&key, &plaintext, request_text(sealed_request)))
    };
    let answer = |answer: &SensitiveServerResponse| {
        let plaintext = serde_json::to_vec(answer).expect("encodes");
        merge(
            json!({ "request": false }),
            sealed(&key, &plaintext, response_text(answer.encrypt(&key).expect("encrypts"))),
        )
    };
    let answers = [SensitiveServerResponse::ForgetMeAck {}, SensitiveServerResponse::RememberMeAck {}];
    forget.iter().chain(&remember).map(request).chain(answers.iter().map(answer)).collect()
}

/// `type` and the members a reader should find, by the names they have in the text.
fn texts() -> Vec<Value> {
    use ClientControlRequest as Request;
    let mut cases = vec![
        json!({ "type": "supportedProtocol", "text": request_text(Request::SupportedProtocol {}) }),
        json!({ "type": "claimFreeTestnetBandwidth", "text": request_text(Request::ClaimFreeTestnetBandwidth) }),
        json!({
            "type": "ecashCredential",
            "text": request_text(Request::EcashCredential { enc_credential: pattern(1, 300), nonce: pattern(2, 12) }),
        }),
        json!({ "type": "upgradeModeJWT", "text": request_text(Request::new_upgrade_mode_jwt("a.b.c".into())) }),
        json!({ "type": "registerHandshakeInitRequest", "protocol_version": 6, "data": hex(pattern(3, 80)),
            "text": request_text(Request::RegisterHandshakeInitRequest { protocol_version: 6, data: pattern(3, 80) })
        }),
        json!({
            "type": "handshakePayload", "protocol_version": 0, "data": "01",
            "text": String::from(RegistrationHandshake::new_payload(vec![1], 0)),
        }),
        json!({
            "type": "handshakeError", "message": "quoted \"so\"",
            "text": String::from(RegistrationHandshake::new_error("quoted \"so\"")),
        }),
        json!({
            "type": "supportedProtocol", "version": 6,
            "text": response_text(ServerResponse::SupportedProtocol { version: 6 }),
        }),
        json!({ "type": "error", "message": "no", "text": response_text(ServerResponse::new_error("no")) }),
    ];
    for upgrade_mode in [false, true] {
        for amount in [0, -1, 40_000_000, 68_719_476_736, i64::MAX, i64::MIN] {
            let common = json!({ "balance": amount.to_string(), "upgrade_mode": upgrade_mode });
            let authenticate = ServerResponse::Authenticate {
                protocol_version: 5,
                status: true,
                bandwidth_remaining: amount,
                upgrade_mode,
            };
            let bandwidth = ServerResponse::Bandwidth(BandwidthResponse { available_total: amount, upgrade_mode });
            let send = ServerResponse::Send(SendResponse { remaining_bandwidth: amount, upgrade_mode });
            cases.push(merge(
                common.clone(),
                json!({
                    "type": "authenticate", "protocol_version": 5, "status": true, "text": response_text(authenticate),
                }),
            ));
            cases.push(merge(common.clone(), json!({ "type": "bandwidth", "text": response_text(bandwidth) })));
            cases.push(merge(common, json!({ "type": "send", "text": response_text(send) })));
        }
        let register = ServerResponse::Register { protocol_version: 4, status: !upgrade_mode, upgrade_mode };
        cases.push(json!({
            "type": "register", "protocol_version": 4, "status": !upgrade_mode, "upgrade_mode": upgrade_mode,
            "text": response_text(register),
        }));
    }
    for (required, available) in [(2413, 0), (386, -5), (i64::MAX, i64::MIN)] {
        let error = SimpleGatewayRequestsError::OutOfBandwidth { required, available };
        cases.push(
            json!({ "type": "out of bandwidth", "required": required.to_string(), "balance": available.to_string(),
            "display": error.to_string(), "text": response_text(ServerResponse::TypedError { error }) }),
        );
    }
    let replay = SimpleGatewayRequestsError::TicketReplay;
    cases.push(json!({
        "type": "ticket replay", "display": replay.to_string(),
        "text": response_text(ServerResponse::TypedError { error: replay }),
    }));
    cases
}

/// Sphinx packets of every size towards the gateway, pushes of every length from it. Packets follow the pattern of
/// their size tag, messages that of their length.
fn frames(world: &World) -> Vec<Value> {
    let key = shared_key();
    let mut cases = vec![];
    let common = |frame: &[u8], kind: u8| {
        json!({
            "shared_key": hex(key.as_bytes()), "kind": kind, "nonce": hex(&frame[2..14]),
            "frame_len": frame.len(), "sha256": sha256(frame),
        })
    };
    for size in super::wire::SIZES {
        let make = || {
            let packet = NymPacket::sphinx_from_bytes(&pattern(size as u32, size.size())).expect("long enough");
            let hop = world.nodes[size as usize % 3].routing_address();
            MixPacket::new(hop, packet, PacketType::Mix, SphinxKeyRotation::OddRotation)
        };
        for (kind, request) in [
            (1, BinaryRequest::ForwardSphinx { packet: make() }),
            (2, BinaryRequest::ForwardSphinxV2 { packet: make() }),
        ] {
            let frame = request.into_encrypted_tagged_bytes(&key).expect("encrypts");
            cases.push(merge(
                common(&frame, kind),
                json!({ "forward": true, "size": size as u8, "hop": size as usize % 3, "rotation": 1 }),
            ));
        }
    }
    for len in [0, 1, 21, 1643, 7787, 15_979, 32_363] {
        let push = BinaryResponse::PushedMixMessage { message: pattern(len as u32, len) };
        let frame = push.into_encrypted_tagged_bytes(&key).expect("encrypts");
        cases.push(merge(common(&frame, 1), json!({ "forward": false, "message_len": len })));
    }
    cases
}

fn refused_frames() -> Vec<Value> {
    let key = shared_key();
    let push = || {
        BinaryResponse::PushedMixMessage { message: pattern(21, 21) }
            .into_encrypted_tagged_bytes(&key)
            .expect("encrypts")
    };
    let edited = |edit: &dyn Fn(&mut Vec<u8>)| {
        let mut frame = push();
        edit(&mut frame);
        frame
    };
    let list: Vec<(&str, Vec<u8>)> = vec![
        ("empty", vec![]),
        ("one byte", vec![1]),
        ("no nonce", edited(&|frame| frame.truncate(13))),
        ("no tag", edited(&|frame| frame.truncate(29))),
        ("kind 0", edited(&|frame| frame[0] = 0)),
        ("kind 2 from a gateway", edited(&|frame| frame[0] = 2)),
        ("flag 2", edited(&|frame| frame[1] = 2)),
        ("damaged nonce", edited(&|frame| frame[2] ^= 1)),
        ("damaged message", edited(&|frame| frame[14] ^= 1)),
        ("damaged tag", edited(&|frame| *frame.last_mut().expect("not empty") ^= 1)),
    ];
    let case = |(desc, frame): &(&str, Vec<u8>)| {
        let error = BinaryResponse::try_from_encrypted_tagged_bytes(frame.clone(), &key).err();
        let error = error.unwrap_or_else(|| panic!("{desc} is accepted"));
        json!({ "desc": desc, "shared_key": hex(key.as_bytes()), "frame": hex(frame), "error": error.to_string() })
    };
    list.iter().map(case).collect()
}

/// The words a gateway has for its refusals, as far as they come from these crates.
fn errors() -> Vec<Value> {
    let time = OffsetDateTime::UNIX_EPOCH;
    let unsigned = ed25519::Signature::from_bytes(&[0; 64]).expect("64 bytes");
    let invalid = identity([1; 32]).public_key().verify(b"", &unsigned).expect_err("not signed");
    let logins = [
        ("malformed ciphertext", AuthenticationFailure::MalformedCiphertext),
        ("invalid signature", AuthenticationFailure::InvalidSignature(invalid)),
        ("not registered", AuthenticationFailure::NotRegistered),
        ("skew", AuthenticationFailure::ExcessiveTimestampSkew { received: time, server: time }),
        ("reuse", AuthenticationFailure::RequestReuse),
        ("malformed nonce", AuthenticationFailure::KeyUsageFailure(SharedKeyUsageError::MalformedNonce)),
    ];
    let handshakes = [
        ("invalid proof", HandshakeError::InvalidSignature),
        ("malformed request", HandshakeError::MalformedRequest),
        ("malformed response", HandshakeError::MalformedResponse),
        ("timeout", HandshakeError::Timeout),
        ("unsupported version", HandshakeError::UnsupportedProtocol { version: 7 }),
        ("handshake failure", HandshakeError::HandshakeFailure),
    ];
    let requests = [
        ("request too short", GatewayRequestsError::TooShortRequest),
        ("unknown kind", GatewayRequestsError::UnknownRequestKind { kind: 9 }),
        ("flag", GatewayRequestsError::InvalidEncryptionFlag),
        ("size", GatewayRequestsError::RequestOfInvalidSize(5)),
        ("malformed packet", GatewayRequestsError::MalformedSphinxPacket),
    ];
    let case = |group: &str, name: &str, text: String| json!({ "group": group, "name": name, "text": text });
    let logins = logins.into_iter().flat_map(|(name, error)| {
        let plain = error.to_string();
        [
            case("login", name, plain),
            case("login, wrapped", name, GatewayRequestsError::Authentication(error).to_string()),
        ]
    });
    let handshakes = handshakes.iter().map(|(name, error)| case("handshake", name, error.to_string()));
    let requests = requests.iter().map(|(name, error)| case("request", name, error.to_string()));
    logins.chain(handshakes).chain(requests).collect()
}

pub fn groups(world: &World) -> Groups {
    vec![
        ("gateway_handshake", [6, 5, 4].iter().map(|version| handshake(world, *version)).collect()),
        ("gateway_handshake_refused", refused_handshakes(world)),
        ("gateway_authenticate_v2", logins(world)),
        ("gateway_encrypted_text", encrypted_texts()),
        ("gateway_texts", texts()),
        ("gateway_frames", frames(world)),
        ("gateway_frames_refused", refused_frames()),
        ("gateway_errors", errors()),
    ]
}
