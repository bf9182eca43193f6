//! The bytes of one file: chunks of pool memory, reached by guarded copies only.
//!
//! Room: drivers/memfs. Locks: the caller holds the node's data lock.
//! The first chunk grows by doubling so that a small file is small; later chunks have full size. A missing chunk is a
//! hole and reads as zero (NT-R-06). Bytes between end of file and a chunk's end are always zero.

use nt_abi::{Bytes, NtResult, NtStatus};
use nt_cell::{Fault, Foreign, Region};
use nt_ex::pool;

const CHUNK: usize = 64 << 10;
const SMALLEST: usize = 256;

#[derive(Clone, Copy)]
struct Chunk {
    block: Foreign<Bytes>,
    size: usize,
}

/// A file's data.
#[derive(Default)]
pub(crate) struct Store {
    chunks: Vec<Option<Chunk>>,
}

impl Chunk {
    fn new(size: usize) -> NtResult<Self> {
        let block = pool::allocate(size, pool::tag(b"RamD"), pool::PoolKind::NonPaged);
        Ok(Self { block: block.ok_or(NtStatus::DISK_FULL.error())?, size })
    }
    fn region(self) -> Region {
        Region::pool(self.block, self.size)
    }
}

impl Store {
    /// Makes memory for `[start, start + length)`.
    pub(crate) fn reserve(&mut self, start: u64, length: usize) -> NtResult<()> {
        if length == 0 {
            return Ok(());
        }
        let end = start + length as u64;
        let last = usize::try_from((end - 1) / CHUNK as u64).map_err(|_| NtStatus::DISK_FULL.error())?;
        if self.chunks.len() <= last {
            self.chunks.resize(last + 1, None);
        }
        let first = (start / CHUNK as u64) as usize;
        for index in first..=last {
            let within = (end - index as u64 * CHUNK as u64).min(CHUNK as u64) as usize;
            let needed = if index == 0 && last == 0 { within.next_power_of_two().max(SMALLEST) } else { CHUNK };
            match self.chunks[index] {
                Some(chunk) if chunk.size >= needed => {}
                Some(old) => {
                    let new = Chunk::new(needed)?;
                    let copied = new.region().sub(0, old.size).copy_from(old.region());
                    pool::free(old.block);
                    self.chunks[index] = Some(new);
                    copied.map_err(|_| NtStatus::UNSUCCESSFUL.error())?;
                }
                None => self.chunks[index] = Some(Chunk::new(needed)?),
            }
        }
        Ok(())
    }

    fn pieces(&self, start: u64, length: usize) -> impl Iterator<Item = (usize, usize, Option<Region>)> {
        let mut done = 0;
        std::iter::from_fn(move || {
            if done == length {
                return None;
            }
            let at = start + done as u64;
            let index = (at / CHUNK as u64) as usize;
            let offset = (at % CHUNK as u64) as usize;
            let chunk = self.chunks.get(index).copied().flatten();
            let room = CHUNK - offset;
            let size = (length - done).min(room);
            let piece = match chunk {
                Some(chunk) if offset < chunk.size => {
                    let size = size.min(chunk.size - offset);
                    (done, size, Some(chunk.region().sub(offset, size)))
                }
                _ => (done, size, None),
            };
            done += piece.1;
            Some(piece)
        })
    }

    /// Returns whether there is memory for all of `[start, start + length)`: none of it is a hole.
    pub(crate) fn holds(&self, start: u64, length: usize) -> bool {
        self.pieces(start, length).all(|(_, _, piece)| piece.is_some())
    }

    /// Copies into reserved memory.
    pub(crate) fn write(&self, start: u64, from: Region) -> Result<(), Fault> {
        for (done, size, piece) in self.pieces(start, from.len()) {
            if let Some(piece) = piece {
                piece.copy_from(from.sub(done, size))?;
            }
        }
        Ok(())
    }

    /// Copies out; holes are zero.
    pub(crate) fn read(&self, start: u64, to: Region) -> Result<(), Fault> {
        for (done, size, piece) in self.pieces(start, to.len()) {
            match piece {
                Some(piece) => to.sub(done, size).copy_from(piece)?,
                None => to.sub(done, size).fill(0)?,
            }
        }
        Ok(())
    }

    /// Zeroes `[start, end)` where memory exists.
    pub(crate) fn zero(&self, start: u64, end: u64) {
        for (_, _, piece) in self.pieces(start, usize::try_from(end.saturating_sub(start)).unwrap_or(0)) {
            if let Some(piece) = piece {
                let _own_memory = piece.fill(0);
            }
        }
    }

    /// Drops what lies at and past `end`, and zeroes the rest of the last chunk.
    pub(crate) fn truncate(&mut self, end: u64) {
        let keep = usize::try_from(end.div_ceil(CHUNK as u64)).unwrap_or(usize::MAX);
        while self.chunks.len() > keep {
            if let Some(Some(chunk)) = self.chunks.pop() {
                pool::free(chunk.block);
            }
        }
        self.zero(end, self.chunks.len() as u64 * CHUNK as u64);
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.truncate(0);
    }
}
