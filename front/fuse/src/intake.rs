//! A reader's memory: the request that it serves.
//!
//! Room: front/fuse. Called by: `session`. Calls: the host. Locks: none.
//! A request comes in two parts by one readv(2): header and parameters into memory of ours, a WRITE's data into a block of the
//! user arena, page-aligned, where the services take it from. A READ's data goes to the same block and from there to the kernel.

use crate::protocol::{Header, Request, opcode};
use crate::session::MAX_WRITE;
use nt_cell::{Region, UserBlock};
use std::io;
use std::os::fd::BorrowedFd;

/// Header and parameters of a WRITE: what comes in front of the block. Of other requests the rest is fetched from there.
const HEAD: usize = Header::LEN + 40;

pub(crate) struct Intake {
    head: Vec<u8>,
    block: UserBlock,
    data: usize,
}

/// A request that waits for a reader.
pub(crate) struct Aside {
    head: Vec<u8>,
    data: Vec<u8>,
}

impl Aside {
    pub(crate) fn header(&self) -> Header {
        Header::read(&self.head)
    }
}

fn lost(fault: nt_cell::Fault) -> io::Error {
    io::Error::other(fault.to_string())
}

impl Intake {
    pub(crate) fn new() -> io::Result<Self> {
        let block = UserBlock::pages(MAX_WRITE).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { head: Vec::with_capacity(4096), block, data: 0 })
    }

    /// Reads a request.
    pub(crate) fn receive(&mut self, from: BorrowedFd<'_>) -> io::Result<()> {
        self.head.resize(HEAD, 0);
        let count = self.block.region().read_behind(&mut self.head, from)?;
        let behind = count.saturating_sub(HEAD);
        self.head.truncate(count);
        self.data = if Header::read(&self.head).opcode == opcode::WRITE { behind } else { 0 };
        if self.data != behind {
            self.head.resize(count, 0);
            self.part(behind).read_to(&mut self.head[HEAD..]).map_err(lost)?;
        }
        Ok(())
    }

    fn part(&self, len: usize) -> Region {
        self.block.region().sub(0, len)
    }

    /// The request that was read; `None` when it is not one.
    pub(crate) fn request(&self) -> Option<Request<'_>> {
        Request::read(&self.head, self.part(self.data), self.block.region())
    }

    /// Copies the request, for whoever comes free.
    pub(crate) fn put_aside(&self) -> io::Result<Aside> {
        let mut data = vec![0; self.data];
        self.part(self.data).read_to(&mut data).map_err(lost)?;
        Ok(Aside { head: self.head.clone(), data })
    }

    /// Takes a request that was put aside.
    pub(crate) fn take_up(&mut self, aside: Aside) -> io::Result<()> {
        self.part(aside.data.len()).write_from(&aside.data).map_err(lost)?;
        self.data = aside.data.len();
        self.head = aside.head;
        Ok(())
    }
}
