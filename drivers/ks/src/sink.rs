//! Where the bytes of a built-in device go.
//!
//! Room: drivers/ks. Called by: pins. IRQL: PASSIVE_LEVEL. Locks: the host file's, a leaf.

use crate::header::violation;
use nt_abi::{NtResult, NtStatus};
use nt_cell::Region;
use nt_ke::Mutex;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// A destination, and how much it has taken.
#[derive(Debug)]
pub struct Sink {
    to: To,
    bytes: AtomicU64,
    requests: AtomicU64,
}

#[derive(Debug)]
enum To {
    Nothing,
    File(Mutex<File>),
}

/// Bytes that go to a host file in one step.
const PIECE: usize = 64 << 10;

fn status_of(error: &io::Error) -> NtStatus {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => NtStatus::DISK_FULL,
        _ => NtStatus::IO_DEVICE_ERROR,
    }
}

impl Sink {
    /// Counts, and keeps nothing.
    #[must_use]
    pub fn nothing() -> Self {
        Self { to: To::Nothing, bytes: AtomicU64::new(0), requests: AtomicU64::new(0) }
    }

    /// Appends to a host file, made if absent.
    ///
    /// # Errors
    /// The host's.
    pub fn file(path: &Path) -> io::Result<Self> {
        let file = File::options().append(true).create(true).open(path)?;
        Ok(Self { to: To::File(Mutex::new(file)), ..Self::nothing() })
    }

    /// Takes the frames of one request, in order and without another request's between them; returns how many bytes.
    pub fn take(&self, frames: impl Iterator<Item = NtResult<Region>>) -> NtResult<u64> {
        let mut taken = 0;
        match &self.to {
            To::Nothing => {
                for frame in frames {
                    taken += frame?.len() as u64;
                }
            }
            To::File(file) => {
                let mut file = file.lock();
                for frame in frames {
                    let frame = frame?;
                    for at in (0..frame.len()).step_by(PIECE) {
                        let piece = frame.sub(at, PIECE.min(frame.len() - at)).to_vec().map_err(violation)?;
                        file.write_all(&piece).map_err(|error| status_of(&error).error())?;
                        taken += piece.len() as u64;
                    }
                }
            }
        }
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(taken, Ordering::Relaxed);
        Ok(taken)
    }

    /// Returns whether taking a frame looks at its bytes.
    #[must_use]
    pub fn looks(&self) -> bool {
        matches!(self.to, To::File(_))
    }

    /// Returns {requests, bytes} taken so far.
    #[must_use]
    pub fn taken(&self) -> (u64, u64) {
        (self.requests.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }
}
