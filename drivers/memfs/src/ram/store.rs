//! The bytes of one file: chunks of pool memory, reached by guarded copies only.
//!
//! Room: drivers/memfs. Locks: the caller holds the node's data lock.
//! The first chunk grows by doubling so that a small file is small; later chunks have full size. A missing chunk reads as
//! zero (NT-R-06). Bytes between end of file and a chunk's end are always zero.

use nt_abi::{Bytes, NtResult, NtStatus};
use nt_cell::{Fault, Foreign, Region};
use nt_ex::pool;
use std::collections::BTreeMap;

/// A chunk is as long as a unit of a sparse stream: what is freed is whole chunks.
const CHUNK: usize = crate::sparse::UNIT as usize;
const SMALLEST: usize = 256;

#[derive(Clone, Copy)]
struct Chunk {
    block: Foreign<Bytes>,
    size: usize,
}

/// A file's data.
#[derive(Default)]
pub(crate) struct Store {
    /// By number; those of a stream that is full of holes may lie far apart.
    chunks: BTreeMap<u64, Chunk>,
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
        let (first, last) = (start / CHUNK as u64, (end - 1) / CHUNK as u64);
        for index in first..=last {
            let within = (end - index * CHUNK as u64).min(CHUNK as u64) as usize;
            let needed = if index == 0 && last == 0 { within.next_power_of_two().max(SMALLEST) } else { CHUNK };
            let old = self.chunks.get(&index).copied();
            if old.is_some_and(|chunk| chunk.size >= needed) {
                continue;
            }
            let new = Chunk::new(needed)?;
            self.chunks.insert(index, new);
            if let Some(old) = old {
                let copied = new.region().sub(0, old.size).copy_from(old.region());
                pool::free(old.block);
                copied.map_err(|_| NtStatus::UNSUCCESSFUL.error())?;
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
            let offset = (at % CHUNK as u64) as usize;
            let chunk = self.chunks.get(&(at / CHUNK as u64));
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
        if start >= end {
            return;
        }
        for (&index, chunk) in self.chunks.range(start / CHUNK as u64..=(end - 1) / CHUNK as u64) {
            let first = index * CHUNK as u64;
            let inside = |at: u64| (at.max(first) - first).min(chunk.size as u64) as usize;
            let (from, to) = (inside(start), inside(end));
            let _own_memory = chunk.region().sub(from, to - from).fill(0);
        }
    }

    /// Gives back the memory of the chunks `[from, to)`.
    pub(crate) fn free(&mut self, from: u64, to: u64) {
        while let Some((&index, &chunk)) = self.chunks.range(from..to).next() {
            self.chunks.remove(&index);
            pool::free(chunk.block);
        }
    }

    /// Drops what lies at and past `end`, and zeroes the rest of the last chunk.
    pub(crate) fn truncate(&mut self, end: u64) {
        let keep = end.div_ceil(CHUNK as u64);
        self.free(keep, u64::MAX);
        self.zero(end, keep * CHUNK as u64);
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.truncate(0);
    }
}
