//! Everything in a document of create.c, opened with the reference.

mod gateway;
mod ipr;
mod messages;
mod network;
mod traffic;

use crate::tape;
use serde_json::Value;
use std::fmt::Display;
use std::process::ExitCode;

/// How many things were checked, or the first that is wrong.
pub type Checked = Result<usize, String>;

/// Says what was looked at when something is wrong with it.
pub trait About<T> {
    fn about(self, what: impl Display) -> Result<T, String>;
}

impl<T, E: Display> About<T> for Result<T, E> {
    fn about(self, what: impl Display) -> Result<T, String> {
        self.map_err(|error| format!("{what}: {error}"))
    }
}

pub fn same<T: PartialEq>(what: impl Display, got: T, want: T) -> Result<(), String> {
    if got == want {
        Ok(())
    } else {
        Err(format!("{what} is not what we meant"))
    }
}

pub fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().unwrap_or_else(|| panic!("no list {name}"))
}

pub fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("no text {name}"))
}

pub fn int(value: &Value, name: &str) -> i64 {
    value[name].as_i64().unwrap_or_else(|| panic!("no number {name}"))
}

/// A number written as text.
pub fn long(value: &Value, name: &str) -> u64 {
    text(value, name).parse().unwrap_or_else(|_| panic!("{name} is no number"))
}

pub fn flag(value: &Value, name: &str) -> bool {
    value[name].as_bool().unwrap_or_else(|| panic!("no flag {name}"))
}

pub fn bytes(value: &Value, name: &str) -> Vec<u8> {
    hex::decode(text(value, name)).unwrap_or_else(|_| panic!("{name} is no hex"))
}

pub fn array<const N: usize>(value: &Value, name: &str) -> [u8; N] {
    bytes(value, name).try_into().unwrap_or_else(|_| panic!("{name} has another length"))
}

pub fn run(file: &str) -> ExitCode {
    let document: Value =
        std::fs::read(file).ok().and_then(|json| serde_json::from_slice(&json).ok()).expect("a JSON file");
    let checks: [(&str, fn(&Value) -> Checked); 13] = [
        ("frames between nodes", network::mix_frames),
        ("forward requests", network::forward_requests),
        ("Sphinx packets", network::sphinx),
        ("recipients", messages::recipients),
        ("NymMessages", messages::nym_messages),
        ("fragments", messages::fragments),
        ("packets of every size class", traffic::classes),
        ("conversation of two clients", traffic::conversation),
        ("gateway protocol", gateway::conversations),
        ("IPR requests", ipr::requests),
        ("IPR responses", ipr::responses),
        ("stream frames", ipr::lp_frames),
        ("bundles", ipr::bundles),
    ];
    for (name, check) in checks {
        match tape::run(name, || check(&document)) {
            Ok(0) => return failed(name, "nothing to check"),
            Ok(count) => println!("ok - the reference opens our {name} ({count})"),
            Err(why) => return failed(name, &why),
        }
    }
    ExitCode::SUCCESS
}

fn failed(name: &str, why: &str) -> ExitCode {
    println!("not ok - the reference opens our {name}\n    {why}");
    ExitCode::FAILURE
}
