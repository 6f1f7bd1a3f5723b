//! Known answers from the reference crates, and the reference crates' opinion of ours. See ../README.md.
//!
//!     crates-vectors generate [FILE]   writes the known answers (tests/vectors/crates.json)
//!     crates-vectors verify FILE       opens what create.c made with the reference, fails at the first mistake

mod document;
mod groups;
mod journey;
mod line;
mod parts;
mod tape;
mod verify;
mod world;

use serde_json::json;
use std::process::ExitCode;
use world::World;

fn generate() -> String {
    let world = tape::run("world", World::new);
    let mut roots = vec![(
        "meta",
        json!({
            "origin": "made by tests/interop/vectors with the crates nym-* 1.21.6 and sphinx-packet 0.6.0",
            "rotation_id": world::ROTATION,
            "pattern": "byte i of pattern n is the top byte of the 32-bit product (i + 7919 n) 2654435761",
        }),
    )];
    roots.extend(world.describe());
    document::write(&roots, &groups::all(&world))
}

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let words: Vec<_> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["generate"] => print!("{}", generate()),
        ["generate", file] => std::fs::write(file, generate()).expect("the file can be written"),
        ["verify", file] => return verify::run(file),
        _ => {
            eprintln!("usage: crates-vectors generate [FILE] | verify FILE");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}
