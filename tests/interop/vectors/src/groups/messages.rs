//! NymMessages of every kind with SURBs of both forms, and how they are cut into fragments.

use super::Groups;
use crate::document::{hex, merge, pattern, sha256};
use crate::parts::{new_surb, DELAY};
use crate::tape::Tape;
use crate::world::{no_identity, World};
use nym_sphinx::anonymous_replies::requests::{
    AnonymousSenderTag, RepliableMessage, RepliableMessageContent, ReplyMessage,
};
use nym_sphinx::anonymous_replies::{ReplySurb, ReplySurbWithKeyRotation};
use nym_sphinx::chunking::fragment::Fragment;
use nym_sphinx::message::{NymMessage, PaddedMessage};
use nym_sphinx::params::{PacketSize, SphinxKeyRotation};
use nym_sphinx::preparer::MessagePreparer;
use nym_sphinx::receiver::{MessageReceiver, SphinxMessageReceiver};
use serde_json::{json, Value};

const TAG: [u8; 16] = [0x7a, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

pub fn preparer(world: &World, legacy: bool, mix_hops: bool) -> MessagePreparer<Tape> {
    MessagePreparer::new(Tape, false, world.alice.recipient, DELAY, DELAY, legacy, !mix_hops)
}

/// The bytes of a message before padding, which the crate itself only shows in fragments.
fn serialised(message: NymMessage) -> Vec<u8> {
    let room = message.available_sphinx_plaintext_per_packet(PacketSize::RegularPacket);
    let fragments = message.pad_to_full_packet_lengths(room).split_into_fragments(&mut Tape, room);
    let mut bytes: Vec<u8> = fragments.iter().flat_map(|fragment| fragment.payload().to_vec()).collect();
    bytes.truncate(bytes.iter().rposition(|byte| *byte == 1).expect("padded"));
    bytes
}

/// Read by the reference, as what a receiver does at the end of reassembly.
fn read(bytes: &[u8]) -> Result<NymMessage, String> {
    let padded = [bytes, &[1, 0, 0]].concat();
    PaddedMessage::new_reconstructed(padded).remove_padding().map_err(|error| error.to_string())
}

struct Surbs {
    bytes: Vec<Vec<u8>>,
    cases: Vec<Value>,
}

/// Which SURBs a message carries: positions in the group `surbs`.
const V2: [usize; 6] = [0, 1, 2, 3, 4, 5];
const V2_ONE_HOP: [usize; 2] = [6, 7];
const V1: [usize; 4] = [8, 9, 10, 11];

impl Surbs {
    fn new(world: &World) -> Self {
        let kinds = [(false, true, V2.len()), (false, false, V2_ONE_HOP.len()), (true, true, V1.len())];
        let made =
            kinds.iter().flat_map(|(legacy, mix_hops, count)| (0..*count).map(|_| new_surb(world, *legacy, *mix_hops)));
        let (bytes, cases) = made.unzip();
        Surbs { bytes, cases }
    }

    fn take(&self, positions: &[usize], rotation: SphinxKeyRotation) -> Vec<ReplySurbWithKeyRotation> {
        let read = |at: &usize| ReplySurb::from_bytes(&self.bytes[*at]).expect("made by the crate");
        positions.iter().map(|at| read(at).with_key_rotation(rotation)).collect()
    }
}

/// `head` is what stands in front of the SURBs, `data` follows the pattern of that number.
fn describe(bytes: &[u8], surbs: &[usize], all: &Surbs, data: &[u8], number: u32) -> Value {
    let surbs_len: usize = surbs.iter().map(|at| all.bytes[*at].len()).sum();
    let head = &bytes[..bytes.len() - surbs_len - data.len()];
    assert_eq!(&bytes[bytes.len() - data.len()..], data);
    read(bytes).expect("the crate reads what it wrote");
    json!({
        "head": hex(head), "surbs": surbs, "data_pattern": number, "data_len": data.len(),
        "len": bytes.len(), "sha256": sha256(bytes),
    })
}

fn repliable(
    all: &Surbs,
    legacy: bool,
    surbs: &[usize],
    rotation: SphinxKeyRotation,
    number: u32,
    len: usize,
) -> Vec<Value> {
    let tag = AnonymousSenderTag::from_bytes(TAG);
    let data = pattern(number, len);
    let message = RepliableMessage::new_data(legacy, data.clone(), tag, all.take(surbs, rotation));
    let additional = RepliableMessage::new_additional_surbs(legacy, tag, all.take(surbs, rotation));
    let first = if legacy { 0 } else { 3 };
    let common = json!({ "type": 1, "sender_tag": hex(TAG), "rotation": rotation as u8 });
    let mut bytes = serialised(NymMessage::new_repliable(additional));
    let mut cases = vec![
        merge(
            json!({ "kind": "data", "content_tag": first }),
            describe(&serialised(NymMessage::new_repliable(message)), surbs, all, &data, number),
        ),
        merge(json!({ "kind": "additional surbs", "content_tag": first + 1 }), describe(&bytes, surbs, all, &[], 0)),
    ];
    // nothing makes heartbeats, but the crate reads them
    bytes[1 + TAG.len()] = first + 2;
    let Ok(NymMessage::Repliable(heartbeat)) = read(&bytes) else { panic!("a heartbeat") };
    assert!(matches!(
        heartbeat.content,
        RepliableMessageContent::Heartbeat(_) | RepliableMessageContent::HeartbeatV2(_)
    ));
    cases.push(merge(json!({ "kind": "heartbeat", "content_tag": first + 2 }), describe(&bytes, surbs, all, &[], 0)));
    cases.into_iter().map(|case| merge(case, common.clone())).collect()
}

fn nym_messages(world: &World, all: &Surbs) -> Vec<Value> {
    use SphinxKeyRotation::{EvenRotation, OddRotation, Unknown};
    let mut cases = vec![];
    for (number, len) in [(1, 0), (2, 1), (3, 1602), (4, 1603)] {
        let data = pattern(number, len);
        let plain = describe(&serialised(NymMessage::new_plain(data.clone())), &[], all, &data, number);
        cases.push(merge(json!({ "kind": "plain", "type": 0 }), plain));
        if len > 0 {
            let reply = serialised(NymMessage::new_reply(ReplyMessage::new_data_message(data.clone())));
            cases.push(merge(
                json!({ "kind": "reply", "type": 2, "content_tag": 0 }),
                describe(&reply, &[], all, &data, number),
            ));
        }
    }
    for amount in [0, 1, 50, 500, u32::MAX] {
        let message = NymMessage::new_additional_surbs_request(world.bob.recipient, amount);
        let case = json!({
            "kind": "surb request", "type": 2, "content_tag": 1, "recipient": hex(world.bob.recipient.to_bytes()),
            "amount": amount,
        });
        cases.push(merge(case, describe(&serialised(message), &[], all, &[], 0)));
    }
    let lists: [(bool, &[usize], SphinxKeyRotation); 9] = [
        (false, &[], Unknown),
        (false, &V2[..1], OddRotation),
        (false, &V2[1..2], EvenRotation),
        (false, &V2[2..3], Unknown),
        (false, &V2, OddRotation),
        (false, &V2_ONE_HOP, EvenRotation),
        (true, &[], Unknown),
        (true, &V1[..1], Unknown),
        (true, &V1, Unknown),
    ];
    for (number, (legacy, surbs, rotation)) in lists.iter().enumerate() {
        let number = 10 + number as u32;
        cases.extend(repliable(all, *legacy, surbs, *rotation, number, 60 * number as usize));
        cases.extend(repliable(all, *legacy, surbs, *rotation, number, 0).into_iter().take(1));
    }
    cases
}

/// Messages the reference refuses, and its words for it. `bytes` stand in front of the SURBs, if there are any.
fn refused(world: &World, all: &Surbs) -> Vec<Value> {
    let tagged = |content: &[u8]| [&[1], &TAG[..], content].concat();
    let mut bad_first_hop = all.bytes[0].clone();
    bad_first_hop[16 + 348] = 5;
    let request = serialised(NymMessage::new_additional_surbs_request(world.bob.recipient, 1));
    let mut bad_recipient = request.clone();
    bad_recipient[2..34].copy_from_slice(&no_identity());
    let mut bad_gateway = request.clone();
    bad_gateway[66..98].copy_from_slice(&no_identity());
    let list: Vec<(&str, Vec<u8>)> = vec![
        ("empty", vec![]),
        ("type 3", vec![3, 0, 0]),
        ("repliable without tag", vec![1, 2, 3]),
        ("repliable without content tag", tagged(&[])),
        ("repliable without content", tagged(&[3])),
        ("content tag 6", tagged(&[6, 0, 0, 0, 0])),
        ("short V2 list head", tagged(&[3, 0, 0, 0])),
        ("rotation 3", tagged(&[3, 0, 0, 0, 3])),
        ("V2 list promises one more", tagged(&[&[3, 0, 2, 4, 1], &all.bytes[0][..]].concat())),
        ("V2 list cut", tagged(&[&[3, 0, 1, 4, 1], &all.bytes[0][..459]].concat())),
        ("V2 list without hops", tagged(&[&[4, 0, 1, 0, 1], &all.bytes[0][..396]].concat())),
        ("first hop of a SURB is no address", tagged(&[&[3, 0, 1, 4, 1], &bad_first_hop[..], b"data"].concat())),
        ("short V1 list head", tagged(&[0, 0, 0, 1])),
        ("V1 list promises one more", tagged(&[&[0, 0, 0, 0, 2], &all.bytes[V1[0]][..]].concat())),
        ("V1 list cut", tagged(&[&[1, 0, 0, 0, 1], &all.bytes[V1[0]][..1163]].concat())),
        ("reply without content tag", vec![2]),
        ("reply without data", vec![2, 0]),
        ("reply content tag 2", vec![2, 2, 1]),
        ("SURB request one byte short", request[..request.len() - 1].to_vec()),
        ("SURB request one byte long", [&request[..], &[0]].concat()),
        ("SURB request of an impossible identity", bad_recipient),
        ("SURB request of an impossible gateway", bad_gateway),
    ];
    let case = |(desc, bytes): &(&str, Vec<u8>)| {
        let error = read(bytes).err().unwrap_or_else(|| panic!("{desc} is accepted"));
        json!({ "desc": desc, "bytes": hex(bytes), "error": error })
    };
    list.iter().map(case).collect()
}

/// A plain message of `len` bytes in fragments, and put together again in a bad order.
fn fragmented(world: &World, size: PacketSize, len: usize, each: bool) -> Value {
    let mut preparer = preparer(world, false, true);
    let data = pattern(len as u32, len);
    Tape::start();
    let fragments = preparer.pad_and_split_message(NymMessage::new_plain(data.clone()), size);
    let drawn = Tape::generator_bytes();
    let bytes: Vec<_> = fragments.iter().map(|fragment| fragment.clone().into_bytes()).collect();
    put_together(&bytes, &data);
    let linked =
        |fragment: &&Fragment| fragment.previous_fragments_set_id().or(fragment.next_fragments_set_id()).is_some();
    let headers = fragments.iter().filter(linked).map(|fragment| hex(&fragment.clone().into_bytes()[..10]));
    let mut set_ids: Vec<_> = fragments.iter().map(Fragment::id).collect();
    set_ids.dedup();
    let case = json!({
        "size": size as u8, "data_pattern": len, "data_len": len, "fragment_len": bytes[0].len(),
        "fragments": bytes.len(), "drawn": hex(drawn), "set_ids": set_ids,
        "linked": headers.collect::<Vec<_>>(),
        "sha256": sha256(bytes.concat()),
    });
    let hashes: Vec<_> = bytes.iter().map(sha256).collect();
    if each {
        merge(case, json!({ "fragment_sha256": hashes }))
    } else {
        case
    }
}

fn put_together(fragments: &[Vec<u8>], data: &[u8]) {
    let mut receiver = SphinxMessageReceiver::new();
    let mut complete = None;
    for fragment in fragments.iter().rev() {
        assert!(complete.is_none(), "complete before the last fragment");
        let fragment = receiver.recover_fragment(fragment).expect("a fragment");
        complete = receiver.insert_new_fragment(fragment).expect("well padded");
    }
    let Some((NymMessage::Plain(got), _)) = complete else { panic!("a plain message") };
    assert_eq!(got, data);
}

fn fragments(world: &World) -> Vec<Value> {
    use PacketSize::{ExtendedPacket16, ExtendedPacket32, ExtendedPacket8, RegularPacket};
    let one_set = 255 * 1604;
    let two_sets = 2 * (one_set - 3);
    // a plain message has one byte in front, the padding one behind
    let regular = [
        0,
        1,
        1601,
        1602,
        1603,
        10_000,
        one_set - 2,
        one_set - 1,
        one_set + 1596,
        one_set + 1597,
        two_sets - 2,
        two_sets - 1,
        1_300_000,
    ];
    let mut cases: Vec<_> = regular.iter().map(|len| fragmented(world, RegularPacket, *len, false)).collect();
    for (size, len) in [
        (ExtendedPacket8, 7746),
        (ExtendedPacket8, 7747),
        (ExtendedPacket16, 100_000),
        (ExtendedPacket32, 32_322),
        (ExtendedPacket8, 2_000_000),
    ] {
        cases.push(fragmented(world, size, len, false));
    }
    cases.push(fragmented(world, RegularPacket, 420_655, true));
    cases
}

/// Fragments the reference refuses.
fn refused_fragments() -> Vec<Value> {
    let list: [(&str, &str); 13] = [
        ("too short", "800000010101"),
        ("first bit off", "00000001010100aa"),
        ("set 0", "80000000010100aa"),
        ("no fragments", "80000001000100aa"),
        ("fragment 0", "80000001010000aa"),
        ("fragment 2 of 1", "80000001010200aa"),
        ("link without its bit", "8000000102017fffffffaa"),
        ("link cut", "800000010201800000"),
        ("link to itself", "80000001020180000001aa"),
        ("link to set 0", "80000001020180000000aa"),
        ("forward link of a set that is not full", "80000001020280000002aa"),
        ("link in the middle", "80000001ff0280000002aa"),
        ("forward link from fragment 254", "80000001fffe80000002aa"),
    ];
    let case = |(desc, text): &(&str, &str)| {
        let error = Fragment::try_from_bytes(&hex::decode(text).expect("hex")).expect_err(desc);
        json!({ "desc": desc, "bytes": text, "error": error.to_string() })
    };
    list.iter().map(case).collect()
}

pub fn groups(world: &World) -> Groups {
    let all = Surbs::new(world);
    vec![
        ("nym_messages", nym_messages(world, &all)),
        ("nym_messages_refused", refused(world, &all)),
        ("surbs", all.cases),
        ("fragments", fragments(world)),
        ("fragments_refused", refused_fragments()),
    ]
}
