//! FileStreamInformation.
//!
//! Room: drivers/memfs. Called by: `fileinfo`. IRQL: PASSIVE_LEVEL. Locks: the tree while the streams are listed.
//! Source: FILE_STREAM_INFORMATION page; FSA 2.1.5.12.29; rules NT-STR-11, NT-STR-12.

use crate::backing::Sizes;
use crate::fileinfo::bad;
use crate::node::{Open, Units, Volume, upcase};
use nt_abi::{NtResult, NtStatus};
use nt_cell::Region;
use nt_io::irp::IoStatus;

const HEADER: usize = 24;

/// Lists the data streams of the file, the unnamed one first.
pub(crate) fn list(volume: &Volume, open: &Open, out: Region) -> NtResult<IoStatus> {
    let file = open.file();
    let mut streams: Vec<(Units, Sizes)> = {
        let _tree = volume.tree.lock();
        file.streams()?.streams_listed()?
    };
    streams.sort_by_cached_key(|(name, _)| upcase(name));
    if !file.is_directory() {
        file.refresh()?;
        let data = file.data.read();
        streams.insert(0, (Units::new(), Sizes { eof: data.eof, allocation: data.allocation }));
    }
    let (mut used, mut last) = (0_usize, None);
    for (name, sizes) in streams {
        let shown: Vec<u8> = [u16::from(b':')]
            .into_iter()
            .chain(name)
            .chain(":$DATA".encode_utf16())
            .flat_map(u16::to_le_bytes)
            .collect();
        let at = used.next_multiple_of(8);
        let end = at + HEADER + shown.len();
        if end > out.len() {
            return Ok(IoStatus::new(NtStatus::BUFFER_OVERFLOW, used as u64));
        }
        if let Some(last) = last {
            out.store::<u32>(last, (at - last) as u32).map_err(bad)?;
        }
        out.store::<u32>(at, 0).map_err(bad)?;
        out.store::<u32>(at + 4, shown.len() as u32).map_err(bad)?;
        out.store::<u64>(at + 8, sizes.eof).map_err(bad)?;
        out.store::<u64>(at + 16, sizes.allocation).map_err(bad)?;
        out.sub(at + HEADER, shown.len()).write_from(&shown).map_err(bad)?;
        (last, used) = (Some(at), end);
    }
    Ok(IoStatus::new(NtStatus::SUCCESS, used as u64))
}
