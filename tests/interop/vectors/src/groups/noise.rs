//! Link encryption between nodes, which this project does not speak: one handshake and two records of the reference,
//! with the keys of the computed example in tests/vectors/vectors.json, so that the description is known to be right.

use super::Groups;
use crate::document::hex;
use crate::line::together;
use crate::world::World;
use nym_crypto::asymmetric::x25519;
use nym_noise::config::{NoiseConfig, NoiseNetworkView, NoiseNode, NoiseVersion, VersionedNoiseKeyV1};
use nym_noise::{upgrade_noise_initiator, upgrade_noise_responder};
use serde_json::json;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const HEADER: usize = 8;
const MESSAGE: &[u8] = b"hello";

fn keys(byte: u8) -> Arc<x25519::KeyPair> {
    let private = x25519::PrivateKey::from_secret([byte; 32]);
    Arc::new(x25519::KeyPair::from(private))
}

/// One whole frame, as it passes by.
async fn pass(from: &mut TcpStream, to: &mut TcpStream) -> Vec<u8> {
    let mut frame = vec![0; HEADER];
    from.read_exact(&mut frame).await.expect("a header");
    frame.resize(HEADER + u16::from_be_bytes([frame[3], frame[4]]) as usize, 0);
    from.read_exact(&mut frame[HEADER..]).await.expect("a message");
    to.write_all(&frame).await.expect("the peer is there");
    frame
}

async fn listen() -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port")
}

pub fn groups(_: &World) -> Groups {
    let (initiator, responder) = (keys(0x11), keys(0x33));
    let known = VersionedNoiseKeyV1 { supported_version: NoiseVersion::V1, x25519_pubkey: *responder.public_key() };
    let nodes = HashMap::from([(IpAddr::from(Ipv4Addr::LOCALHOST), NoiseNode::new_nym_node(known))]);
    let config = |key: &Arc<x25519::KeyPair>| {
        NoiseConfig::new(key.clone(), NoiseNetworkView::new(nodes.clone()), Duration::from_secs(10))
    };
    // both ends draw nothing but their ephemeral keys, the initiator first
    let mut ephemeral = [0x22, 0x44].into_iter();
    getrandom::set_source(move |dest| dest.fill(ephemeral.next().expect("two draws")));

    let work = async {
        let (front, back) = (listen().await, listen().await);
        let (front_address, back_address) = (front.local_addr().expect("bound"), back.local_addr().expect("bound"));
        let initiate = async {
            let stream = TcpStream::connect(front_address).await.expect("the relay listens");
            let mut stream = upgrade_noise_initiator(stream, &config(&initiator)).await.expect("a handshake");
            for _ in 0..2 {
                stream.write_all(MESSAGE).await.expect("written");
                stream.flush().await.expect("sent");
            }
            stream
        };
        let respond = async {
            let stream = back.accept().await.expect("the relay connects").0;
            let mut stream = upgrade_noise_responder(stream, &config(&responder)).await.expect("a handshake");
            let mut got = [0; 2 * MESSAGE.len()];
            stream.read_exact(&mut got).await.expect("read");
            assert_eq!(got[..], MESSAGE.repeat(2));
        };
        let relay = async {
            let mut a = front.accept().await.expect("the initiator connects").0;
            let mut b = TcpStream::connect(back_address).await.expect("the responder listens");
            let handshake = [pass(&mut a, &mut b).await, pass(&mut b, &mut a).await, pass(&mut a, &mut b).await];
            let transport = [pass(&mut a, &mut b).await, pass(&mut a, &mut b).await];
            (handshake, transport)
        };
        futures::join!(initiate, respond, relay).2
    };
    let (handshake, transport) = together(work, async {}).0;
    let case = json!({
        "initiator_static": hex(initiator.private_key().to_bytes()), "initiator_ephemeral": hex([0x22; 32]),
        "responder_static": hex(responder.private_key().to_bytes()), "responder_ephemeral": hex([0x44; 32]),
        "frames": handshake.map(hex), "transport": transport.map(hex),
    });
    vec![("noise", vec![case])]
}
