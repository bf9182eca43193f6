//! Requests past the cache (NT-N).

use super::cases;
use crate::door::*;
use crate::run::*;
use nt_io::info::class;
use nt_machine::NtStatus;

cases![
    nt_n_01_lengths_are_sector_multiples,
    nt_n_01_a_large_length_with_a_byte_too_many,
    nt_n_02_offsets_are_sector_multiples,
    nt_n_03_aligned_requests_succeed,
    nt_n_03_an_aligned_overwrite_and_extension,
    nt_n_03_asynchronous_aligned_requests_succeed,
    nt_n_04_a_volume_of_byte_alignment_takes_any_buffer,
    nt_n_05_an_append_at_a_ragged_end_is_refused_by_the_volume,
    nt_n_05_a_ragged_position_is_refused_by_the_volume,
    nt_n_05_an_append_at_an_aligned_end_succeeds,
    nt_n_06_a_kernel_callers_ragged_request_is_the_volumes_to_refuse,
    a_gap_left_by_a_noncached_write_reads_as_zero,
    a_noncached_handle_has_a_position,
    reads_past_the_cache_are_checked_as_writes_are,
    a_noncached_zero_length_write_succeeds,
];

fn nt_n_01_lengths_are_sector_multiples(t: &Run<'_>) -> Outcome {
    t.as_user()?;
    let f = t.open(noncached("a"))?;
    for length in [1, 4, 100, 511, 513, 1023] {
        t.leaves(State::E0, Transfer::write(f, at(0), &vec![1; length]), NtStatus::INVALID_PARAMETER)?;
    }
    t.ends(f, 0)
}

fn nt_n_01_a_large_length_with_a_byte_too_many(t: &Run<'_>) -> Outcome {
    t.as_user()?;
    let f = t.open(noncached("a"))?;
    t.leaves(State::E0, Transfer::write(f, at(0), &vec![1; (1 << 20) + 1]), NtStatus::INVALID_PARAMETER)
}

fn nt_n_02_offsets_are_sector_multiples(t: &Run<'_>) -> Outcome {
    t.as_user()?;
    let f = t.open(noncached("a"))?;
    t.writes(f, at(0), &[1; 1024])?;
    for offset in [1, 4, 511, 513, 1023] {
        t.leaves(State::E0, Transfer::write(f, at(offset), &[2; 512]), NtStatus::INVALID_PARAMETER)?;
    }
    t.holds("a", &[1; 1024])
}

fn nt_n_03_aligned_requests_succeed(t: &Run<'_>) -> Outcome {
    let f = t.open(noncached("a"))?;
    t.writes(f, at(0), &[7; 512])?;
    t.ends(f, 512)?;
    t.reads(f, at(0), 512, &[7; 512])
}

fn nt_n_03_an_aligned_overwrite_and_extension(t: &Run<'_>) -> Outcome {
    let f = t.open(noncached("a"))?;
    t.writes(f, at(0), &[1; 2048])?;
    t.writes(f, at(1536), &[2; 1024])?;
    t.writes(f, at(512), &[3; 512])?;
    t.ends(f, 2560)?;
    t.holds("a", &[&[1; 512][..], &[3; 512], &[1; 512], &[2; 1024]].concat())
}

fn nt_n_03_asynchronous_aligned_requests_succeed(t: &Run<'_>) -> Outcome {
    let f = t.open(asynchronous("a").with(NONCACHED))?;
    t.write(f, at(512), &[7; 1024], pended(NtStatus::SUCCESS, 1024))?;
    t.ends(f, 1536)
}

fn nt_n_04_a_volume_of_byte_alignment_takes_any_buffer(t: &Run<'_>) -> Outcome {
    t.as_user()?;
    let f = t.open(noncached("a"))?;
    let bytes = t.queries(f, class::ALIGNMENT, 4, success(4))?;
    t.equal("the alignment", bytes, vec![0; 4])?;
    t.transfer(Transfer::write(f, at(0), &[7; 512]).buffer(Place::Misaligned), success(512))?;
    t.holds("a", &[7; 512])
}

fn nt_n_05_an_append_at_a_ragged_end_is_refused_by_the_volume(t: &Run<'_>) -> Outcome {
    let f = t.open(sync("a"))?;
    t.writes(f, NULL, b"abc")?;
    let f = t.open(noncached("a"))?;
    t.write(f, END, &[1; 512], refused(NtStatus::INVALID_PARAMETER))?;
    t.ends(f, 3)
}

fn nt_n_05_a_ragged_position_is_refused_by_the_volume(t: &Run<'_>) -> Outcome {
    let f = t.open(noncached("a"))?;
    t.seek(f, 3)?;
    for offset in [NULL, POINTER] {
        t.write(f, offset, &[1; 512], refused(NtStatus::INVALID_PARAMETER))?;
    }
    t.ends(f, 0)
}

fn nt_n_05_an_append_at_an_aligned_end_succeeds(t: &Run<'_>) -> Outcome {
    let f = t.open(noncached("a"))?;
    for step in 1..=3 {
        t.writes(f, END, &[step as u8; 512])?;
        t.stands(f, step * 512)?;
    }
    t.holds("a", &[[1; 512], [2; 512], [3; 512]].concat())
}

fn nt_n_06_a_kernel_callers_ragged_request_is_the_volumes_to_refuse(t: &Run<'_>) -> Outcome {
    if t.as_user().is_ok() {
        return not_expressible("the caller is a user");
    }
    let f = t.open(noncached("a"))?;
    t.writes(f, at(0), &[1; 1024])?;
    for (offset, length) in [(0, 100), (100, 512), (100, 100), (512, 513)] {
        let before = t.transfers()?;
        t.write(f, at(offset), &vec![2; length], refused(NtStatus::INVALID_PARAMETER))?;
        t.equal("requests that reached the volume", t.transfers()? - before, 1)?;
    }
    t.holds("a", &[1; 1024])
}

fn a_gap_left_by_a_noncached_write_reads_as_zero(t: &Run<'_>) -> Outcome {
    let f = t.open(noncached("a"))?;
    t.writes(f, at(0), &[0xAA; 512])?;
    t.writes(f, at(8192), &[0xBB; 512])?;
    t.ends(f, 8704)?;
    t.holds("a", &[&[0xAA; 512][..], &[0; 7680], &[0xBB; 512]].concat())
}

fn a_noncached_handle_has_a_position(t: &Run<'_>) -> Outcome {
    let f = t.open(noncached("a"))?;
    t.writes(f, NULL, &[1; 512])?;
    t.writes(f, NULL, &[2; 512])?;
    t.stands(f, 1024)?;
    t.seek(f, 512)?;
    t.reads(f, POINTER, 512, &[2; 512])?;
    t.stands(f, 1024)
}

fn reads_past_the_cache_are_checked_as_writes_are(t: &Run<'_>) -> Outcome {
    t.as_user()?;
    let f = t.open(noncached("a"))?;
    t.writes(f, at(0), &[1; 1024])?;
    for (offset, length) in [(0, 100), (4, 512), (0, 513)] {
        t.read(f, at(offset), length, refused(NtStatus::INVALID_PARAMETER))?;
    }
    t.reads(f, at(512), 512, &[1; 512])
}

fn a_noncached_zero_length_write_succeeds(t: &Run<'_>) -> Outcome {
    let f = t.open(noncached("a"))?;
    t.writes(f, at(512), b"")?;
    t.ends(f, 0)
}
