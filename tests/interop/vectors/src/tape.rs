//! Every random byte the reference crates draw, from one seeded stream, written down in order.
//!
//! The crates draw in three ways: from a generator they are handed (`Tape`), from the operating system (the crate in
//! ../randomness), and from `rand`'s generator of the thread, which takes its seed from the operating system when a
//! thread first uses it. The last one's draws cannot be seen from outside: they are delays and nonces, which are read
//! off the finished packets and frames instead. Each room of known answers therefore runs in a thread of its own, on a
//! stream keyed by the room's name: rooms do not influence each other.

use rand::{CryptoRng, Error, RngCore, SeedableRng};
use rand_chacha::ChaCha20Rng;
use sha2::{Digest, Sha256};
use std::collections::VecDeque;
use std::sync::Mutex;

struct Draw {
    from_system: bool,
    bytes: Vec<u8>,
}

struct Stream {
    generator: ChaCha20Rng,
    draws: VecDeque<Draw>,
}

static STREAM: Mutex<Option<Stream>> = Mutex::new(None);

fn with<T>(use_it: impl FnOnce(&mut Stream) -> T) -> T {
    let mut stream = STREAM.lock().expect("no holder panics");
    use_it(stream.as_mut().expect("run() set the stream"))
}

fn draw(dest: &mut [u8], from_system: bool) {
    with(|stream| {
        stream.generator.fill_bytes(dest);
        let bytes = dest.to_vec();
        stream.draws.push_back(Draw { from_system, bytes });
    })
}

/// Runs `work` in a thread of its own on the stream of this name.
pub fn run<T: Send>(name: &str, work: impl FnOnce() -> T + Send) -> T {
    let key: [u8; 32] = Sha256::digest(name).into();
    let generator = ChaCha20Rng::from_seed(key);
    *STREAM.lock().expect("no holder panics") = Some(Stream { generator, draws: VecDeque::new() });
    getrandom::set_source(|dest| draw(dest, true));
    std::thread::scope(|scope| {
        let started = scope.spawn(|| {
            rand::thread_rng().next_u32(); // takes its seed now, not in the middle of something
            Tape::start();
            work()
        });
        started.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// The generator for the crates, and what was drawn since `start`.
#[derive(Clone, Copy)]
pub struct Tape;

impl Tape {
    /// Forgets what was drawn so far.
    pub fn start() {
        with(|stream| stream.draws.clear());
    }

    /// The next draw of this length from the operating system.
    pub fn from_system(len: usize) -> Vec<u8> {
        Self::next(true, len)
    }

    /// The next draw of this length from the generator. Shorter ones before it, which chose nodes, are passed over:
    /// with one node on each layer nothing depends on them.
    pub fn from_generator(len: usize) -> Vec<u8> {
        Self::next(false, len)
    }

    fn next(from_system: bool, len: usize) -> Vec<u8> {
        with(|stream| {
            let wanted = |draw: &Draw| draw.from_system == from_system && draw.bytes.len() == len;
            let at = stream.draws.iter().position(wanted).expect("a draw that was not looked at yet");
            stream.draws.remove(at).expect("it is there").bytes
        })
    }

    /// Everything the generator gave since `start`, in one string.
    pub fn generator_bytes() -> Vec<u8> {
        with(|stream| {
            let taken = stream.draws.iter().filter(|draw| !draw.from_system);
            taken.flat_map(|draw| draw.bytes.clone()).collect()
        })
    }
}

impl RngCore for Tape {
    fn next_u32(&mut self) -> u32 {
        let mut bytes = [0; 4];
        self.fill_bytes(&mut bytes);
        u32::from_le_bytes(bytes)
    }

    fn next_u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.fill_bytes(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    fn fill_bytes(&mut self, dest: &mut [u8]) {
        draw(dest, false)
    }

    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), Error> {
        self.fill_bytes(dest);
        Ok(())
    }
}

impl CryptoRng for Tape {}
