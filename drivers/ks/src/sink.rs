//! Where the bytes of a built-in device go.
//!
//! Room: drivers/ks. Called by: pins. IRQL: PASSIVE_LEVEL. Locks: the host file's, a leaf.

use nt_abi::{NtResult, NtStatus};
use nt_cell::Region;
use nt_io::service::violation;
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

enum To {
    Nothing,
    Writer(Mutex<Box<dyn Write + Send>>),
}

impl std::fmt::Debug for To {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if matches!(self, Self::Nothing) { "Nothing" } else { "Writer" })
    }
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
        Ok(Self::writer(File::options().append(true).create(true).open(path)?))
    }

    /// Gives the bytes to a writer, in the order in which requests are taken.
    pub fn writer(to: impl Write + Send + 'static) -> Self {
        Self { to: To::Writer(Mutex::new(Box::new(to))), ..Self::nothing() }
    }

    /// Takes the frames of one request, in order and without another request's between them; returns how many bytes. A
    /// destination that fails after some bytes has taken those (KS-H-09).
    pub fn take(&self, mut frames: impl Iterator<Item = NtResult<Region>>) -> NtResult<u64> {
        let mut taken = 0;
        let end = match &self.to {
            To::Nothing => frames.try_for_each(|frame| {
                taken += frame?.len() as u64;
                Ok(())
            }),
            To::Writer(writer) => {
                let mut writer = writer.lock();
                frames.try_for_each(|frame| write(&mut **writer, frame?, &mut taken))
            }
        };
        if let Err(error) = end
            && taken == 0
        {
            return Err(error);
        }
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(taken, Ordering::Relaxed);
        Ok(taken)
    }

    /// Returns whether taking a frame looks at its bytes.
    #[must_use]
    pub fn looks(&self) -> bool {
        matches!(self.to, To::Writer(_))
    }

    /// Returns {requests, bytes} taken so far.
    #[must_use]
    pub fn taken(&self) -> (u64, u64) {
        (self.requests.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }
}

/// Writes a frame piece by piece; `taken` counts what went through, also when the rest does not.
fn write(to: &mut dyn Write, frame: Region, taken: &mut u64) -> NtResult<()> {
    for at in (0..frame.len()).step_by(PIECE) {
        let piece = frame.sub(at, PIECE.min(frame.len() - at)).to_vec().map_err(violation)?;
        let mut left = piece.as_slice();
        while !left.is_empty() {
            match to.write(left) {
                Ok(0) => return NtStatus::IO_DEVICE_ERROR.fail(),
                Ok(count) => {
                    *taken += count as u64;
                    left = &left[count..];
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return status_of(&error).fail(),
            }
        }
    }
    Ok(())
}
