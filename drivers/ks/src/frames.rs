//! Lists of stream headers for kernel-mode callers: headers and frames in one block of nonpaged pool.
//!
//! Room: drivers/ks. Called by: the Rust client, benches, tests. IRQL: <= DISPATCH_LEVEL. Locks: none.
//! Source: KSSTREAM_HEADER page; rules KS-H-01 to KS-H-03, KS-S-06.

use crate::header::BASE;
use nt_abi::ks::KSSTREAM_HEADER;
use nt_abi::{Bytes, NtResult, NtStatus};
use nt_cell::{Addr, Foreign, Region};
use nt_ex::pool;
use nt_io::service::violation;

/// A header list with its frames; it must live until the request that it is given to has ended.
#[derive(Debug)]
pub struct FrameList {
    block: Foreign<Bytes>,
    size: usize,
    extents: Vec<usize>,
}

impl FrameList {
    fn new(extents: Vec<usize>, used: impl Fn(usize) -> usize) -> NtResult<Self> {
        let heads = extents.len() * BASE;
        let size = heads + extents.iter().map(|extent| extent.next_multiple_of(16)).sum::<usize>();
        let block = pool::allocate(size.max(BASE), pool::tag(b"KsFr"), pool::PoolKind::NonPaged);
        let block = block.ok_or(NtStatus::INSUFFICIENT_RESOURCES.error())?;
        let list = Self { block, size, extents };
        let (first, mut data): (Foreign<KSSTREAM_HEADER>, usize) = (block.view(), heads);
        for (index, &extent) in list.extents.iter().enumerate() {
            let header = first.element(index);
            let length = |bytes: usize| u32::try_from(bytes).map_err(|_| NtStatus::INVALID_BUFFER_SIZE.error());
            header.set(KSSTREAM_HEADER::Size, BASE as u32);
            header.set(KSSTREAM_HEADER::PresentationTime_Numerator, 1);
            header.set(KSSTREAM_HEADER::PresentationTime_Denominator, 1);
            header.set(KSSTREAM_HEADER::FrameExtent, length(extent)?);
            header.set(KSSTREAM_HEADER::DataUsed, length(used(index))?);
            header.set_addr(KSSTREAM_HEADER::Data, block.addr() + data as u64);
            data += extent.next_multiple_of(16);
        }
        Ok(list)
    }

    /// Makes the list of a write request: one header a frame.
    pub fn filled(frames: &[&[u8]]) -> NtResult<Self> {
        let list = Self::new(frames.iter().map(|frame| frame.len()).collect(), |index| frames[index].len())?;
        for (index, frame) in frames.iter().enumerate() {
            list.frame(index).write_from(frame).map_err(violation)?;
        }
        Ok(list)
    }

    /// Makes the list of a read request: empty frames with room for so many bytes each.
    pub fn empty(extents: &[usize]) -> NtResult<Self> {
        Self::new(extents.to_vec(), |_| 0)
    }

    /// Returns the header list's address.
    #[must_use]
    pub fn addr(&self) -> Addr {
        Addr::from(self.block)
    }

    /// Returns the byte size of the header list, as KsStreamIo and the control codes want it.
    #[must_use]
    pub fn length(&self) -> u32 {
        (self.extents.len() * BASE) as u32
    }

    /// Returns a header.
    #[must_use]
    pub fn header(&self, index: usize) -> Foreign<KSSTREAM_HEADER> {
        self.block.view::<KSSTREAM_HEADER>().element(index)
    }

    /// Returns a frame, all of its extent.
    #[must_use]
    pub fn frame(&self, index: usize) -> Region {
        let before: usize = self.extents[..index].iter().map(|extent| extent.next_multiple_of(16)).sum();
        Region::pool(self.block, self.size).sub(self.extents.len() * BASE + before, self.extents[index])
    }

    /// Returns the bytes that a read request filled into a frame.
    pub fn bytes(&self, index: usize) -> NtResult<Vec<u8>> {
        let used = self.header(index).get(KSSTREAM_HEADER::DataUsed) as usize;
        self.frame(index).sub(0, used.min(self.extents[index])).to_vec().map_err(violation)
    }
}

impl Drop for FrameList {
    fn drop(&mut self) {
        pool::free(self.block);
    }
}
