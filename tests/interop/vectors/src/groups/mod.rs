//! The groups of known answers, by the room of the program they are about.

pub mod gateway;
pub mod ipr;
pub mod messages;
pub mod noise;
pub mod packets;
pub mod sphinx;
pub mod wire;

use crate::tape;
use crate::world::World;
use serde_json::Value;

pub type Groups = Vec<(&'static str, Vec<Value>)>;

pub fn all(world: &World) -> Groups {
    let rooms: [(&str, fn(&World) -> Groups); 7] = [
        ("wire", wire::groups),
        ("sphinx", sphinx::groups),
        ("messages", messages::groups),
        ("packets", packets::groups),
        ("ipr", ipr::groups),
        ("gateway", gateway::groups),
        ("noise", noise::groups),
    ];
    rooms.iter().flat_map(|(name, groups)| tape::run(name, || groups(world))).collect()
}
