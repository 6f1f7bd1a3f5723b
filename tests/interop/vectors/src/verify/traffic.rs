//! Packets as clients hand them to their gateways, followed to the receiver and back: the message with its user, the
//! acknowledgement with its sender.

use super::messages::{kind, surbs_of, usable};
use super::network::Network;
use super::{array, bytes, int, list, same, text, About, Checked};
use crate::document::pattern;
use nym_crypto::asymmetric::x25519;
use nym_sphinx::acknowledgements::identifier::recover_identifier;
use nym_sphinx::acknowledgements::AckKey;
use nym_sphinx::addressing::clients::Recipient;
use nym_sphinx::anonymous_replies::requests::ReplyMessageContent;
use nym_sphinx::anonymous_replies::SurbEncryptionKey;
use nym_sphinx::chunking::fragment::COVER_FRAG_ID;
use nym_sphinx::cover::is_cover;
use nym_sphinx::forwarding::packet::MixPacket;
use nym_sphinx::message::NymMessage;
use nym_sphinx::receiver::{MessageReceiver, SphinxMessageReceiver};
use serde_json::Value;
use std::collections::HashMap;

struct Client {
    recipient: Recipient,
    encryption: x25519::PrivateKey,
    ack_key: AckKey,
    receiver: SphinxMessageReceiver,
    /// Keys of the SURBs it made, by their digests.
    reply_keys: HashMap<Vec<u8>, SurbEncryptionKey>,
    received: Vec<(&'static str, Vec<u8>)>,
    covers: usize,
    surbs_given: usize,
}

impl Client {
    fn new(client: &Value) -> Self {
        Client {
            recipient: Recipient::try_from_bytes(array(client, "recipient")).expect("a recipient"),
            encryption: x25519::PrivateKey::from_bytes(&bytes(client, "encryption_private")).expect("a key"),
            ack_key: AckKey::try_from_bytes(&bytes(client, "ack_key")).expect("a key"),
            receiver: SphinxMessageReceiver::new(),
            reply_keys: HashMap::new(),
            received: vec![],
            covers: 0,
            surbs_given: 0,
        }
    }

    fn decrypt(&mut self, message: &mut [u8]) -> Result<Vec<u8>, String> {
        if let Some(key) = self.reply_keys.remove(&message[..32]) {
            self.receiver.recover_plaintext_from_reply(&mut message[32..], key).about("reply")?;
            return Ok(message[32..].to_vec());
        }
        let plaintext = self.receiver.recover_plaintext_from_regular_packet(&self.encryption, message);
        plaintext.map(|bytes| bytes.to_vec()).about("message")
    }
}

struct Scene {
    network: Network,
    clients: HashMap<&'static str, Client>,
}

impl Scene {
    fn new(document: &Value) -> Self {
        let clients = ["alice", "bob"].map(|name| (name, Client::new(&document[name])));
        Scene { network: Network::new(document), clients: clients.into() }
    }

    fn owner(&mut self, identity: &[u8]) -> Result<&mut Client, String> {
        let owner = self.clients.values_mut().find(|client| client.recipient.identity().to_bytes() == identity);
        owner.ok_or_else(|| "no client of ours has this destination".to_string())
    }

    /// One packet of `from`; the frames between the nodes are of both versions in turn.
    fn packet(&mut self, from: &str, forward: &[u8], legacy_frames: bool) -> Result<(), String> {
        let packet = MixPacket::try_from_v2_bytes(forward).about("forward request")?;
        let arrived = self.network.carry(packet, legacy_frames)?;
        let ack = self
            .network
            .carry(arrived.forward_ack.ok_or("no acknowledgement")?, legacy_frames)
            .about("acknowledgement")?;
        let sender = self.clients.get(from).ok_or("no such client")?;
        same("receiver of the acknowledgement", ack.destination.as_bytes(), sender.recipient.identity().to_bytes())?;
        let id = recover_identifier(&sender.ack_key, &ack.message).ok_or("the acknowledgement is too short")?;

        let mut message = arrived.message;
        let receiver = self.owner(&arrived.destination.as_bytes())?;
        let content = receiver.decrypt(&mut message)?;
        if is_cover(&content) {
            receiver.covers += 1;
            same("receiver of cover", receiver.recipient.to_string(), self.clients[from].recipient.to_string())?;
            return same("id in the acknowledgement of cover", id, COVER_FRAG_ID.to_bytes());
        }
        let fragment = receiver.receiver.recover_fragment(&content).about("fragment")?;
        same("id in the acknowledgement", id, fragment.fragment_identifier().to_bytes())?;
        match receiver.receiver.insert_new_fragment(fragment).about("message")? {
            Some((message, _)) => self.message(from, &arrived.destination.as_bytes(), message),
            None => Ok(()),
        }
    }

    fn message(&mut self, from: &str, to: &[u8], message: NymMessage) -> Result<(), String> {
        let kind = kind(&message);
        if let NymMessage::Repliable(repliable) = &message {
            let maker = self.clients.get_mut(from).ok_or("no such client")?;
            for surb in surbs_of(&repliable.content) {
                usable(&self.network, surb.inner_reply_surb(), &maker.recipient)?;
                let key = *surb.encryption_key();
                maker.reply_keys.insert(key.compute_digest().to_vec(), key);
                maker.surbs_given += 1;
            }
        }
        if let NymMessage::Reply(reply) = &message {
            if let ReplyMessageContent::SurbRequest { recipient, .. } = &reply.content {
                same("recipient in a SURB request", recipient.to_string(), self.clients[from].recipient.to_string())?;
            }
        }
        self.owner(to)?.received.push((kind, message.into_inner_data()));
        Ok(())
    }

    /// Everything that was said arrived, and nothing else but talk about SURBs.
    fn all_arrived(&mut self, said: &[Value]) -> Result<(), String> {
        for line in said {
            let to = if text(line, "from") == "alice" { "bob" } else { "alice" };
            let receiver = self.clients.get_mut(to).ok_or("no such client")?;
            let data = pattern(int(line, "pattern") as u32, int(line, "len") as usize);
            let at = receiver.received.iter().position(|(kind, got)| *kind == text(line, "kind") && *got == data);
            receiver.received.remove(at.ok_or_else(|| format!("a message of {} bytes did not arrive", data.len()))?);
        }
        let rest: Vec<_> = self.clients.values().flat_map(|client| &client.received).collect();
        same(
            "what nobody said",
            rest.iter().any(|(kind, _)| !["surb request", "additional surbs"].contains(kind)),
            false,
        )
    }
}

fn follow(document: &Value, packets: &str, said: &str) -> Result<Scene, String> {
    let mut scene = Scene::new(document);
    for (number, packet) in list(document, packets).iter().enumerate() {
        let forward = bytes(packet, "forward");
        same("rotation", forward[1] as i64, int(document, "rotation"))?;
        scene.packet(text(packet, "from"), &forward, number % 2 == 0).about(format!("packet {number}"))?;
    }
    scene.all_arrived(list(document, said))?;
    Ok(scene)
}

pub fn classes(document: &Value) -> Checked {
    follow(document, "class_packets", "class_said")?;
    Ok(list(document, "class_packets").len())
}

pub fn conversation(document: &Value) -> Checked {
    let scene = follow(document, "packets", "said")?;
    let (alice, bob) = (&scene.clients["alice"], &scene.clients["bob"]);
    // a conversation in which nothing of this happened would prove less than it says
    let requests = alice.received.iter().filter(|(kind, _)| *kind == "surb request").count();
    let answers = bob.received.iter().filter(|(kind, _)| *kind == "additional surbs").count();
    same("cover of alice", alice.covers > 0, true)?;
    same("cover of bob", bob.covers > 0, true)?;
    same("SURB requests", requests > 0, true)?;
    same("answers to SURB requests", answers > 0, true)?;
    same("SURBs of alice", alice.surbs_given > 100, true)?;
    Ok(list(document, "packets").len())
}
