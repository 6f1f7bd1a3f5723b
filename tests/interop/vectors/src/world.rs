//! The network all known answers live in: three mix nodes (one with an IPv6 address), two gateways and a spare node,
//! one key rotation, and two clients: alice behind the first gateway, bob behind the second.

use crate::document::hex;
use crate::tape::Tape;
use nym_crypto::asymmetric::{ed25519, x25519};
use nym_sphinx::acknowledgements::AckKey;
use nym_sphinx::addressing::clients::Recipient;
use nym_sphinx::addressing::nodes::NymNodeRoutingAddress;
use nym_sphinx_types::{Destination, Node, NodeAddressBytes, PrivateKey};
use nym_topology::{
    CachedEpochRewardedSet, NymRouteProvider, NymTopology, NymTopologyMetadata, RoutingNode, SupportedRoles,
};
use rand::RngCore;
use serde_json::{json, Value};
use std::net::SocketAddr;
use time::OffsetDateTime;

pub const ROTATION: u32 = 41;
pub const EPOCH: u32 = 1000;

pub struct MixNode {
    pub address: SocketAddr,
    pub sphinx: PrivateKey,
    pub identity: ed25519::KeyPair,
}

impl MixNode {
    fn new(tape: &mut Tape, address: &str) -> Self {
        MixNode {
            address: address.parse().expect("an address"),
            sphinx: PrivateKey::from(secret(tape)),
            identity: identity(secret(tape)),
        }
    }

    pub fn routing_address(&self) -> NymNodeRoutingAddress {
        self.address.into()
    }

    pub fn hop(&self) -> Node {
        let address: NodeAddressBytes = self.routing_address().try_into().expect("fits");
        Node::new(address, (&self.sphinx).into())
    }

    fn describe(&self) -> Value {
        json!({
            "ip": self.address.ip().to_string(),
            "port": self.address.port(),
            "address": hex(self.routing_address().as_zero_padded_bytes(32)),
            "sphinx_private": hex(self.sphinx.to_bytes()),
            "sphinx_public": hex(self.hop().pub_key.as_bytes()),
            "identity_seed": hex(self.identity.private_key().to_bytes()),
            "identity": hex(self.identity.public_key().to_bytes()),
        })
    }
}

pub struct Client {
    pub identity: ed25519::KeyPair,
    pub encryption: x25519::KeyPair,
    pub ack_key: AckKey,
    pub recipient: Recipient,
}

impl Client {
    fn new(tape: &mut Tape, gateway: &MixNode) -> Self {
        let identity = identity(secret(tape));
        let encryption = x25519::KeyPair::new(tape);
        let recipient =
            Recipient::new(*identity.public_key(), *encryption.public_key(), *gateway.identity.public_key());
        Client { identity, encryption, ack_key: AckKey::new(tape), recipient }
    }

    pub fn destination(&self) -> Destination {
        self.recipient.as_sphinx_destination()
    }

    fn describe(&self) -> Value {
        json!({
            "identity_seed": hex(self.identity.private_key().to_bytes()),
            "identity": hex(self.identity.public_key().to_bytes()),
            "encryption_private": hex(self.encryption.private_key().to_bytes()),
            "encryption": hex(self.encryption.public_key().to_bytes()),
            "ack_key": hex(self.ack_key.to_bytes()),
            "recipient": hex(self.recipient.to_bytes()),
            "recipient_text": self.recipient.to_string(),
        })
    }
}

pub struct World {
    pub nodes: Vec<MixNode>,
    pub alice: Client,
    pub bob: Client,
    pub routes: NymRouteProvider,
}

/// Positions in `World::nodes`.
pub const MIXES: [usize; 3] = [0, 1, 2];
pub const ALICES_GATEWAY: usize = 3;
pub const BOBS_GATEWAY: usize = 4;
pub const SPARE: usize = 5;

impl World {
    pub fn new() -> Self {
        let tape = &mut Tape;
        let addresses = [
            "192.0.2.1:1789",
            "[2001:db8::2]:1790",
            "192.0.2.3:65535",
            "198.51.100.4:1",
            "198.51.100.5:1789",
            "203.0.113.6:256",
        ];
        let nodes: Vec<_> = addresses.iter().map(|address| MixNode::new(tape, address)).collect();
        let alice = Client::new(tape, &nodes[ALICES_GATEWAY]);
        let bob = Client::new(tape, &nodes[BOBS_GATEWAY]);
        let routes = routes(&nodes, ROTATION);
        World { nodes, alice, bob, routes }
    }

    /// The same network at another rotation.
    pub fn at_rotation(&self, rotation: u32) -> NymRouteProvider {
        routes(&self.nodes, rotation)
    }

    pub fn route(&self, positions: &[usize]) -> Vec<Node> {
        positions.iter().map(|at| self.nodes[*at].hop()).collect()
    }

    pub fn describe(&self) -> Vec<(&'static str, Value)> {
        let nodes = self.nodes.iter().map(MixNode::describe).collect();
        vec![
            ("nodes", Value::Array(nodes)),
            ("clients", json!({ "alice": self.alice.describe(), "bob": self.bob.describe() })),
        ]
    }
}

pub fn secret(tape: &mut Tape) -> [u8; 32] {
    let mut bytes = [0; 32];
    tape.fill_bytes(&mut bytes);
    bytes
}

pub fn identity(seed: [u8; 32]) -> ed25519::KeyPair {
    let private = ed25519::PrivateKey::from_bytes(&seed).expect("any 32 bytes are a key");
    ed25519::KeyPair::from_bytes(&seed, &private.public_key().to_bytes()).expect("they belong together")
}

/// 32 bytes that are no point of the curve, so no identity.
pub fn no_identity() -> [u8; 32] {
    let candidate = |low: u8| {
        let mut bytes = [0; 32];
        bytes[0] = low;
        bytes
    };
    let refused = |bytes: &[u8; 32]| ed25519::PublicKey::from_bytes(bytes).is_err();
    (0..=255).map(candidate).find(refused).expect("every second value is none")
}

/// One node on each layer, so that the route of a packet is known.
fn routes(nodes: &[MixNode], rotation: u32) -> NymRouteProvider {
    let only = |at: usize| [at as u32].into();
    let gateways = [ALICES_GATEWAY as u32, BOBS_GATEWAY as u32];
    let rewarded = CachedEpochRewardedSet {
        epoch_id: EPOCH,
        layer1: only(MIXES[0]),
        layer2: only(MIXES[1]),
        layer3: only(MIXES[2]),
        entry_gateways: gateways.into(),
        exit_gateways: gateways.into(),
        ..Default::default()
    };
    let metadata = NymTopologyMetadata::new(rotation, EPOCH, OffsetDateTime::UNIX_EPOCH);
    let details = nodes.iter().enumerate().map(|(id, node)| routing_node(id as u32, node));
    NymRouteProvider::new(NymTopology::new(metadata, rewarded, details.collect()), true)
}

fn routing_node(node_id: u32, node: &MixNode) -> RoutingNode {
    RoutingNode {
        node_id,
        mix_host: node.address,
        entry: None,
        identity_key: *node.identity.public_key(),
        sphinx_key: x25519::PublicKey::from_bytes(node.hop().pub_key.as_bytes()).expect("32 bytes"),
        supported_roles: SupportedRoles { mixnode: true, mixnet_entry: true, mixnet_exit: true },
    }
}
