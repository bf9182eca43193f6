//! Stream headers: the packed list that a stream request carries, read once and judged as a copy.
//!
//! Room: drivers/ks. Called by: `probe`, `streamio`, pins. IRQL: <= DISPATCH_LEVEL. Locks: none.
//! Source: KSSTREAM_HEADER page; rules KS-L-03, KS-H-01 to KS-H-03, KS-H-11, KS-H-12, KS-P-07, KS-P-08.

use nt_abi::ks::{KSSTREAM_HEADER, KSSTREAM_HEADER_OPTIONSF_TIMEVALID};
use nt_abi::{NtResult, NtStatus};
use nt_cell::Region;
use nt_io::service::violation;
use nt_trace::rule;

/// The base record.
pub const BASE: usize = KSSTREAM_HEADER::SIZE;

/// One header as it was when it was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StreamHeader {
    /// Where it starts in the list.
    pub offset: usize,
    /// Size: the base record and what extends it.
    pub size: u32,
    /// FrameExtent.
    pub extent: u32,
    /// DataUsed.
    pub used: u32,
    /// Data.
    pub data: u64,
    /// OptionsFlags.
    pub options: u32,
    /// PresentationTime: Time, Numerator, Denominator.
    pub time: (i64, u32, u32),
}

impl StreamHeader {
    /// Returns the presentation time in units of 100 ns; `None` for a frame without one (KS-H-11, KS-H-12).
    #[must_use]
    pub fn presentation_time(&self) -> Option<i64> {
        let (time, numerator, denominator) = self.time;
        if self.options & KSSTREAM_HEADER_OPTIONSF_TIMEVALID == 0 || numerator == 0 || denominator == 0 {
            return None;
        }
        i64::try_from(i128::from(time) * i128::from(numerator) / i128::from(denominator)).ok()
    }
}

/// Walks a list; an error ends the walk.
#[derive(Clone, Debug)]
pub struct Headers {
    list: Region,
    at: usize,
}

impl Headers {
    /// Starts at the first header of a list.
    #[must_use]
    pub const fn new(list: Region) -> Self {
        Self { list, at: 0 }
    }

    fn read(&self) -> NtResult<StreamHeader> {
        let left = self.list.len() - self.at;
        if left < BASE {
            rule!(KS_P_08);
            return NtStatus::INVALID_BUFFER_SIZE.fail();
        }
        let mut raw = [0; BASE];
        self.list.sub(self.at, BASE).read_to(&mut raw).map_err(violation)?;
        let word = |at: usize| u32::from_le_bytes([raw[at], raw[at + 1], raw[at + 2], raw[at + 3]]);
        let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
        let size = word(KSSTREAM_HEADER::Size.offset());
        // KS-P-07: without these two the list cannot be walked.
        if (size as usize) < BASE || !size.is_multiple_of(8) || size as usize > left {
            return NtStatus::INVALID_BUFFER_SIZE.fail();
        }
        Ok(StreamHeader {
            offset: self.at,
            size,
            extent: word(KSSTREAM_HEADER::FrameExtent.offset()),
            used: word(KSSTREAM_HEADER::DataUsed.offset()),
            data: long(KSSTREAM_HEADER::Data.offset()),
            options: word(KSSTREAM_HEADER::OptionsFlags.offset()),
            time: (
                long(KSSTREAM_HEADER::PresentationTime_Time.offset()) as i64,
                word(KSSTREAM_HEADER::PresentationTime_Numerator.offset()),
                word(KSSTREAM_HEADER::PresentationTime_Denominator.offset()),
            ),
        })
    }
}

impl Iterator for Headers {
    type Item = NtResult<StreamHeader>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.list.len() {
            return None;
        }
        let header = self.read();
        self.at = header.as_ref().map_or(self.list.len(), |header| self.at + header.size as usize);
        Some(header)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timed(time: i64, numerator: u32, denominator: u32, options: u32) -> StreamHeader {
        let time = (time, numerator, denominator);
        StreamHeader { offset: 0, size: 56, extent: 0, used: 0, data: 0, options, time }
    }

    #[test]
    fn ks_h_11_a_presentation_time_is_scaled_in_wide_arithmetic() {
        let valid = KSSTREAM_HEADER_OPTIONSF_TIMEVALID;
        assert_eq!(timed(176_400, 80_000_000, 16 * 2 * 44_100, valid).presentation_time(), Some(10_000_000));
        assert_eq!(timed(i64::MAX, u32::MAX, u32::MAX, valid).presentation_time(), Some(i64::MAX));
    }

    #[test]
    fn ks_h_12_a_time_over_nothing_is_no_time() {
        let valid = KSSTREAM_HEADER_OPTIONSF_TIMEVALID;
        assert_eq!(timed(5, 1, 0, valid).presentation_time(), None);
        assert_eq!(timed(5, 0, 1, valid).presentation_time(), None);
        assert_eq!(timed(5, 1, 1, 0).presentation_time(), None);
    }
}
