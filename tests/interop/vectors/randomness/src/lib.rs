//! The operating system's randomness as the reference crates see it, without the operating system: the program says where
//! the bytes come from. The crates draw secrets, paddings and nonces from here by themselves, so this is what makes their
//! output reproducible, and what makes known which bytes they drew.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Mutex;

type Source = Box<dyn FnMut(&mut [u8]) + Send>;

static SOURCE: Mutex<Option<Source>> = Mutex::new(None);

/// From now on every byte comes from `source`.
pub fn set_source(source: impl FnMut(&mut [u8]) + Send + 'static) {
    *SOURCE.lock().expect("no holder panics") = Some(Box::new(source));
}

pub fn getrandom(dest: &mut [u8]) -> Result<(), Error> {
    let mut source = SOURCE.lock().expect("no holder panics");
    source.as_mut().ok_or(Error(Error::CUSTOM_START_CODE))?(dest);
    Ok(())
}

/// Nobody has set a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error(NonZeroU32);

impl Error {
    pub const CUSTOM_START: u32 = (1 << 31) + (1 << 30);
    pub const INTERNAL_START: u32 = 1 << 31;
    const CUSTOM_START_CODE: NonZeroU32 = NonZeroU32::new(Self::CUSTOM_START).expect("not zero");

    pub const fn code(self) -> NonZeroU32 {
        self.0
    }
}

impl From<NonZeroU32> for Error {
    fn from(code: NonZeroU32) -> Self {
        Error(code)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no source of randomness was set")
    }
}

impl std::error::Error for Error {}
