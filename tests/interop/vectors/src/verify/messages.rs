//! Messages before they become packets.

use super::network::{mix_packet, Network};
use super::{array, bytes, int, list, same, text, About, Checked};
use crate::document::pattern;
use crate::parts::ACK_PREFIX;
use nym_sphinx::addressing::clients::Recipient;
use nym_sphinx::anonymous_replies::requests::{RepliableMessageContent, ReplyMessageContent};
use nym_sphinx::anonymous_replies::{ReplySurb, ReplySurbWithKeyRotation};
use nym_sphinx::message::{NymMessage, PaddedMessage};
use nym_sphinx::params::{PacketSize, PacketType};
use nym_sphinx::receiver::{MessageReceiver, SphinxMessageReceiver};
use serde_json::Value;

pub fn recipients(document: &Value) -> Checked {
    let cases = list(document, "recipients");
    for case in cases {
        let recipient = Recipient::try_from_base58_string(text(case, "text")).about("recipient")?;
        same("bytes", recipient.to_bytes().to_vec(), bytes(case, "bytes"))?;
        let read = Recipient::try_from_bytes(array(case, "bytes")).about("recipient")?;
        same("text", read.to_string(), text(case, "text").to_string())?;
    }
    Ok(cases.len())
}

/// A reply on this SURB must get to its maker.
pub fn usable(network: &Network, surb: &ReplySurb, maker: &Recipient) -> Result<(), String> {
    let size = PacketSize::RegularPacket;
    let mut plaintext = vec![0; size.plaintext_size()];
    plaintext[0] = 4; // an acknowledgement to nowhere
    plaintext[ACK_PREFIX..].fill(7);
    let surb = ReplySurb::from_bytes(&surb.to_bytes()).about("SURB")?;
    let (packet, first_hop) = surb.apply_surb(&plaintext, size, PacketType::Mix).about("SURB")?;
    let arrived = network.carry(mix_packet(first_hop, packet), true).about("reply on a SURB")?;
    same("receiver of a reply", arrived.destination.as_bytes(), maker.identity().to_bytes())?;
    same("reply", arrived.message, plaintext[ACK_PREFIX..].to_vec())
}

pub fn surbs_of(content: &RepliableMessageContent) -> &[ReplySurbWithKeyRotation] {
    use RepliableMessageContent::{AdditionalSurbs, AdditionalSurbsV2, Data, DataV2, Heartbeat, HeartbeatV2};
    match content {
        Data(content) => &content.reply_surbs,
        AdditionalSurbs(content) => &content.reply_surbs,
        Heartbeat(content) => &content.additional_reply_surbs,
        DataV2(content) => &content.reply_surbs,
        AdditionalSurbsV2(content) => &content.reply_surbs,
        HeartbeatV2(content) => &content.additional_reply_surbs,
    }
}

pub fn kind(message: &NymMessage) -> &'static str {
    match message {
        NymMessage::Plain(_) => "plain",
        NymMessage::Reply(reply) => match reply.content {
            ReplyMessageContent::Data { .. } => "reply",
            ReplyMessageContent::SurbRequest { .. } => "surb request",
        },
        NymMessage::Repliable(message) => match message.content {
            RepliableMessageContent::Data(_) | RepliableMessageContent::DataV2(_) => "data",
            RepliableMessageContent::AdditionalSurbs(_) | RepliableMessageContent::AdditionalSurbsV2(_) => {
                "additional surbs"
            }
            RepliableMessageContent::Heartbeat(_) | RepliableMessageContent::HeartbeatV2(_) => "heartbeat",
        },
    }
}

fn nym_message(document: &Value, network: &Network, case: &Value) -> Result<(), String> {
    let padded = [&bytes(case, "bytes")[..], &[1, 0]].concat();
    let message = PaddedMessage::new_reconstructed(padded).remove_padding().about(text(case, "kind"))?;
    same("kind", kind(&message), text(case, "kind"))?;
    if let NymMessage::Repliable(repliable) = &message {
        same("sender tag", repliable.sender_tag.to_bytes().to_vec(), bytes(case, "sender_tag"))?;
        let surbs = surbs_of(&repliable.content);
        same("number of SURBs", surbs.len() as i64, int(case, "surbs"))?;
        let maker = Recipient::try_from_bytes(array(&document["alice"], "recipient")).about("alice")?;
        for surb in surbs {
            same("rotation", surb.key_rotation() as i64, int(case, "rotation"))?;
            usable(network, surb.inner_reply_surb(), &maker)?;
        }
    }
    if let NymMessage::Reply(reply) = &message {
        if let ReplyMessageContent::SurbRequest { recipient, amount } = &reply.content {
            same("recipient", recipient.to_bytes().to_vec(), bytes(&document["bob"], "recipient"))?;
            same("amount", *amount as i64, int(case, "amount"))?;
        }
    }
    same("data", message.into_inner_data(), pattern(int(case, "pattern") as u32, int(case, "len") as usize))
}

pub fn nym_messages(document: &Value) -> Checked {
    let network = Network::new(document);
    let cases = list(document, "nym_messages");
    for case in cases {
        nym_message(document, &network, case)?;
    }
    Ok(cases.len())
}

pub fn fragments(document: &Value) -> Checked {
    let mut count = 0;
    for case in list(document, "fragmented") {
        let mut receiver = SphinxMessageReceiver::new();
        let mut complete = None;
        let fragments = list(case, "fragments");
        // every third one first, so that sets fill in a mixed order
        for at in (0..3).flat_map(|start| (start..fragments.len()).step_by(3)) {
            same("message complete before its end", complete.is_none(), true)?;
            let fragment = receiver.recover_fragment(&bytes(&fragments[at], "bytes")).about(at)?;
            complete = receiver.insert_new_fragment(fragment).about(at)?;
        }
        let (message, sets) = complete.ok_or("all fragments make no message")?;
        same("sets", sets.len() as i64, int(case, "sets"))?;
        let len = int(case, "len") as u32;
        same("kind", kind(&message), "plain")?;
        same("data", message.into_inner_data(), pattern(len, len as usize - 1))?;
        count += fragments.len();
    }
    Ok(count)
}
