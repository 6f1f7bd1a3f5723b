//! The JSON document: hex for bytes, one case per line, so that a change of one answer is a change of one line.

use serde_json::Value;
use sha2::{Digest, Sha256};
use std::fmt::Write;

pub fn hex(bytes: impl AsRef<[u8]>) -> Value {
    Value::String(hex::encode(bytes))
}

pub fn sha256(bytes: impl AsRef<[u8]>) -> Value {
    hex(Sha256::digest(bytes))
}

/// Content for messages of any length that needs no room in the document: byte i of pattern `number`.
/// tests/unit/crates.c has the same function.
pub fn pattern(number: u32, len: usize) -> Vec<u8> {
    let byte = |i: u32| (i.wrapping_add(number.wrapping_mul(7919)).wrapping_mul(2_654_435_761) >> 24) as u8;
    (0..len as u32).map(byte).collect()
}

/// Puts members of `more` into `case`.
pub fn merge(mut case: Value, more: Value) -> Value {
    let (Value::Object(into), Value::Object(from)) = (&mut case, more) else {
        panic!("cases are objects");
    };
    into.extend(from);
    case
}

fn write_list(out: &mut String, name: &str, cases: &[Value]) {
    writeln!(out, "    \"{name}\": [").unwrap();
    for (i, case) in cases.iter().enumerate() {
        let comma = if i + 1 < cases.len() { "," } else { "" };
        writeln!(out, "      {case}{comma}").unwrap();
    }
    out.push_str("    ]");
}

/// `roots` are single values at the top level, `groups` lists of cases.
pub fn write(roots: &[(&str, Value)], groups: &[(&str, Vec<Value>)]) -> String {
    let mut out = String::from("{\n");
    for (name, value) in roots {
        writeln!(out, "  \"{name}\": {value},").unwrap();
    }
    out.push_str("  \"groups\": {\n");
    for (i, (name, cases)) in groups.iter().enumerate() {
        write_list(&mut out, name, cases);
        out.push_str(if i + 1 < groups.len() { ",\n" } else { "\n" });
    }
    out.push_str("  }\n}\n");
    out
}
