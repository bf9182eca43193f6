//! KsProbeStreamIrp as a driver calls it: lists of kernel and user callers, MDLs, locks, refusals (ks.md section 8).
mod device;
mod stream;
#[path = "../../memfs/tests/support/mod.rs"]
mod support;

use nt_abi::io::{IO_STACK_LOCATION, IRP, IRP_BUFFERED_IO, IRP_DEALLOCATE_BUFFER, IRP_INPUT_OPERATION};
use nt_abi::ks::*;
use nt_abi::mm::{MDL, MDL_PAGES_LOCKED, MDL_SOURCE_IS_NONPAGED_POOL, MDL_WRITE_OPERATION};
use nt_abi::{NtResult, NtStatus};
use nt_cell::arena::Protection;
use nt_cell::{Addr, Foreign, Region};
use nt_ex::pool::{self, PoolKind};
use nt_io::irp::Irp;
use nt_ke::Mode;
use nt_ks::frames::FrameList;
use nt_ks::probe;
use nt_ks::streamio::StreamRequest;
use nt_mm::mdl;
use stream::*;
use support::*;

const WRITE: u32 = KSPROBE_STREAMWRITE;
const READ: u32 = KSPROBE_STREAMREAD;
const LOCK: u32 = KSPROBE_ALLOCATEMDL | KSPROBE_PROBEANDLOCK;
const BASE: u32 = KSSTREAM_HEADER::SIZE as u32;

/// Sends a list to a driver that runs `body` on the packet, and completes it with what that says.
fn with_packet(
    mode: Mode,
    headers: Addr,
    length: u32,
    flags: u32,
    body: impl Fn(Irp) -> NtResult<(NtStatus, u64)> + Send + Sync + 'static,
) -> NtStatus {
    let world = World::new();
    let stream = Stream::new(
        &world,
        Kind::new(move |irp| {
            let result = body(irp.irp());
            irp.finish(result)
        }),
    );
    let request = StreamRequest { mode, headers, length, flags, ..stream.request() };
    stream.go_as(mode, &request)
}

fn probed(mode: Mode, headers: Addr, length: u32, flags: u32, header_size: u32) -> NtStatus {
    with_packet(mode, headers, length, flags & 1, move |packet| {
        probe::probe_stream_irp(packet, flags, header_size)?;
        Ok((NtStatus::SUCCESS, 0))
    })
}

/// What the probe says of a user caller's list.
fn user(heads: &[Head], flags: u32, header_size: u32) -> NtStatus {
    let list = UserList::new(heads);
    probed(Mode::User, list.addr(), list.length, flags, header_size)
}

/// What the probe says of the same list of a kernel caller.
fn kernel(heads: &[Head], flags: u32, header_size: u32) -> NtStatus {
    let list = UserList::new(heads);
    let block = pool::allocate(list.length.max(1) as usize, pool::tag(b"tKsL"), PoolKind::NonPaged).expect("pool");
    Region::pool(block, list.length as usize).copy_from(list.region()).expect("copy");
    let status = probed(Mode::Kernel, Addr::from(block), list.length, flags, header_size);
    pool::free(block);
    status
}

/// Both must say the same (KS-P-23).
fn both(heads: &[Head], flags: u32, header_size: u32) -> NtStatus {
    let said = user(heads, flags, header_size);
    assert_eq!(kernel(heads, flags, header_size), said, "a kernel caller's list is judged as a user caller's");
    said
}

fn buffer_of(packet: Irp) -> u64 {
    packet.addr_at(IRP::AssociatedIrp_SystemBuffer)
}

fn chain(packet: Irp) -> Vec<Foreign<MDL>> {
    mdl::chain(packet.ptr(IRP::MdlAddress)).collect()
}

const LISTS: u32 = IRP_BUFFERED_IO | IRP_DEALLOCATE_BUFFER | IRP_INPUT_OPERATION;

#[test]
fn ks_p_01_after_the_probe_the_packet_looks_like_direct_io() {
    let list = UserList::new(&[Head::of(32, 20), Head::of(0, 0)]);
    let status = with_packet(Mode::User, list.addr(), list.length, WRITE, |packet| {
        assert_eq!((buffer_of(packet), chain(packet).len()), (0, 0));
        probe::probe_stream_irp(packet, WRITE, BASE)?;
        assert!(buffer_of(packet) != 0 && chain(packet).is_empty(), "MDLs only if they are asked for");
        probe::probe_stream_irp(packet, WRITE | LOCK, BASE)?;
        assert_eq!(chain(packet).len(), 1);
        let frame = mdl::region(chain(packet)[0])?.to_vec().expect("locked");
        assert_eq!(frame, vec![1; 32], "the frame");
        Ok((NtStatus::SUCCESS, 20))
    });
    assert_eq!(status, NtStatus::SUCCESS);
}

#[test]
fn ks_p_02_a_kernel_callers_list_stays_where_it_is() {
    let list = FrameList::filled(&[b"abc"]).expect("pool");
    let at = list.addr().value();
    let status = with_packet(Mode::Kernel, list.addr(), list.length(), WRITE, move |packet| {
        let flags = packet.get(IRP::Flags);
        probe::probe_stream_irp(packet, WRITE, BASE)?;
        assert_eq!((buffer_of(packet), packet.addr_at(IRP::UserBuffer)), (at, at));
        assert_eq!(packet.get(IRP::Flags), flags, "the flags are as before");
        Ok((NtStatus::SUCCESS, 3))
    });
    assert_eq!(status, NtStatus::SUCCESS);
    assert_eq!(list.header(0).get(KSSTREAM_HEADER::DataUsed), 3, "the list is the caller's, also after the end");
}

#[test]
fn ks_p_03_a_user_callers_list_is_copied_into_nonpaged_pool() {
    for (direction, extra) in [(WRITE, 0), (READ, IRP_INPUT_OPERATION)] {
        let list = UserList::new(&[Head::of(16, 16 * direction), Head::of(16, 0)]);
        let expected = list.region().to_vec().expect("block");
        let status = with_packet(Mode::User, list.addr(), list.length, direction, move |packet| {
            let other = packet.get(IRP::Flags) & !LISTS;
            assert_eq!(packet.get(IRP::Flags), other);
            probe::probe_stream_irp(packet, direction, BASE)?;
            assert_eq!(packet.get(IRP::Flags), other | IRP_BUFFERED_IO | IRP_DEALLOCATE_BUFFER | extra);
            assert!(pool::kind_of_span(buffer_of(packet), expected.len()) == Some(PoolKind::NonPaged));
            assert_eq!(probe::list(packet).to_vec().expect("pool"), expected);
            Ok((NtStatus::SUCCESS, 0))
        });
        assert_eq!(status, NtStatus::SUCCESS);
    }
}

#[test]
fn ks_p_04_the_list_is_probed_as_the_request_will_touch_it() {
    let world = World::new();
    for (protection, flags, expected) in [
        (Protection::ReadOnly, WRITE, NtStatus::SUCCESS),
        (Protection::ReadOnly, WRITE | KSPROBE_MODIFY, NtStatus::ACCESS_VIOLATION),
        (Protection::ReadOnly, READ, NtStatus::ACCESS_VIOLATION),
        (Protection::NoAccess, WRITE, NtStatus::ACCESS_VIOLATION),
    ] {
        let kind = Kind::new(move |irp| {
            let result = probe::probe_stream_irp(irp.irp(), flags, BASE);
            irp.finish(result.map(|()| (NtStatus::SUCCESS, 0)))
        });
        let stream = Stream::new(&world, kind);
        let list = UserList::new(&[Head::of(0, 0)]);
        list.block.protect(0, 4096, protection).expect("protect");
        let request = StreamRequest { mode: Mode::User, headers: list.addr(), length: BASE, ..stream.request() };
        assert_eq!(stream.go_as(Mode::User, &request), expected, "{protection:?} {flags:#x}");
        let copies = pool::outstanding(world.kernel.id()).into_iter().find(|(tag, ..)| *tag == pool::tag(b"KsSh"));
        assert_eq!(copies, None, "nothing leaks");
    }
}

#[test]
fn ks_p_05_a_second_probe_adds_what_the_first_did_not_do_and_repeats_nothing() {
    let list = UserList::new(&[Head::of(32, 32)]);
    let caller = list.region();
    let status = with_packet(Mode::User, list.addr(), list.length, WRITE, move |packet| {
        probe::probe_stream_irp(packet, WRITE, BASE)?;
        let copy = buffer_of(packet);
        caller.store::<u32>(KSSTREAM_HEADER::Size.offset(), 1).expect("block");
        probe::list(packet).store::<u32>(KSSTREAM_HEADER::DataUsed.offset(), 33).expect("pool");
        probe::probe_stream_irp(packet, WRITE | KSPROBE_ALLOCATEMDL, BASE)?;
        assert_eq!((buffer_of(packet), chain(packet).len()), (copy, 1), "neither copied nor judged again");
        let made = chain(packet)[0];
        assert_eq!(made.get(MDL::MdlFlags) & MDL_PAGES_LOCKED, 0);
        probe::probe_stream_irp(packet, WRITE | LOCK, BASE)?;
        assert!(chain(packet) == [made] && made.get(MDL::MdlFlags) & MDL_PAGES_LOCKED != 0, "locked, the same one");
        probe::probe_stream_irp(packet, WRITE | LOCK, BASE)?;
        assert_eq!(chain(packet), [made], "and once more nothing happens");
        Ok((NtStatus::SUCCESS, 0))
    });
    assert_eq!(status, NtStatus::SUCCESS);
}

#[test]
fn ks_p_06_a_header_size_is_the_size_of_every_header() {
    let extended = |size| Head { size, ..Head::of(8, 8) };
    for (heads, header_size, expected) in [
        (vec![extended(56), extended(56)], 56, NtStatus::SUCCESS),
        (vec![extended(128), extended(128)], 128, NtStatus::SUCCESS),
        (vec![extended(64)], 56, NtStatus::INVALID_BUFFER_SIZE),
        (vec![extended(56), extended(56)], 128, NtStatus::INVALID_BUFFER_SIZE),
        (vec![extended(56), extended(72)], 64, NtStatus::INVALID_BUFFER_SIZE),
        (vec![], 56, NtStatus::INVALID_BUFFER_SIZE),
    ] {
        assert_eq!(both(&heads, WRITE, header_size), expected, "{} headers, {header_size}", heads.len());
    }
    let change = Head { options: KSSTREAM_HEADER_OPTIONSF_TYPECHANGED, ..Head::of(64, 64) };
    assert_eq!(both(&[change], WRITE | KSPROBE_ALLOWFORMATCHANGE, 128), NtStatus::SUCCESS, "the one exception");
    assert_eq!(both(&[Head::of(8, 8)], WRITE | KSPROBE_ALLOWFORMATCHANGE, 128), NtStatus::INVALID_BUFFER_SIZE);
}

#[test]
fn ks_h_01_a_header_is_the_base_record_and_what_extends_it() {
    let list = UserList::new(&[Head { size: 128, ..Head::of(8, 3) }, Head { size: 128, ..Head::of(16, 5) }]);
    let status = with_packet(Mode::User, list.addr(), list.length, WRITE, |packet| {
        probe::probe_stream_irp(packet, WRITE | LOCK, 0)?;
        let found: Vec<_> = probe::frames(packet).map(|frame| frame.expect("good").header).collect();
        let seen: Vec<_> = found.iter().map(|header| (header.offset, header.size, header.used)).collect();
        assert_eq!(seen, [(0, 128, 3), (128, 128, 5)]);
        Ok((NtStatus::SUCCESS, 0))
    });
    assert_eq!(status, NtStatus::SUCCESS);
    let small = Head { size: 48, ..Head::of(8, 8) };
    assert_eq!(both(&[small, small], WRITE, 0), NtStatus::INVALID_BUFFER_SIZE, "less than the base record");
}

#[test]
fn ks_p_10_a_read_request_with_bytes_in_it_is_refused() {
    assert_eq!(both(&[Head::of(8, 0)], READ, 0), NtStatus::SUCCESS);
    assert_eq!(both(&[Head::of(8, 1)], READ, 0), NtStatus::INVALID_BUFFER_SIZE);
}

#[test]
fn ks_p_11_a_read_request_with_options_is_refused() {
    for options in [KSSTREAM_HEADER_OPTIONSF_TIMEVALID, KSSTREAM_HEADER_OPTIONSF_ENDOFSTREAM] {
        assert_eq!(both(&[Head { options, ..Head::of(8, 0) }], READ, 0), NtStatus::INVALID_PARAMETER);
    }
}

#[test]
fn ks_h_23_a_list_that_comes_back_with_the_drivers_options_is_refused() {
    // The driver sets options in a list that it filled; the client sends it again as it is, then as it should.
    let list = FrameList::empty(&[8]).expect("pool");
    let header = list.header(0);
    header.set(KSSTREAM_HEADER::OptionsFlags, KSSTREAM_HEADER_OPTIONSF_TIMEVALID);
    assert_eq!(probed(Mode::Kernel, list.addr(), list.length(), READ, BASE), NtStatus::INVALID_PARAMETER);
    header.set(KSSTREAM_HEADER::OptionsFlags, 0);
    assert_eq!(probed(Mode::Kernel, list.addr(), list.length(), READ, BASE), NtStatus::SUCCESS);
}

#[test]
fn ks_p_13_a_format_change_needs_the_flag() {
    let change = Head { options: KSSTREAM_HEADER_OPTIONSF_TYPECHANGED, ..Head::of(64, 64) };
    assert_eq!(both(&[change], WRITE, BASE), NtStatus::INVALID_PARAMETER);
    assert_eq!(both(&[change], WRITE | KSPROBE_ALLOWFORMATCHANGE, BASE), NtStatus::SUCCESS);
}

#[test]
fn ks_p_15_there_is_one_mdl_for_each_frame_over_all_of_its_extent() {
    let list = UserList::new(&[Head::of(100, 1), Head::of(0, 0), Head::of(5000, 7)]);
    let status = with_packet(Mode::User, list.addr(), list.length, WRITE, |packet| {
        probe::probe_stream_irp(packet, WRITE | KSPROBE_ALLOCATEMDL, BASE)?;
        let data: Vec<_> = nt_ks::header::Headers::new(probe::list(packet))
            .map(|header| header.expect("good"))
            .map(|header| (header.data, header.extent))
            .collect();
        let spans: Vec<_> = chain(packet).into_iter().map(mdl::span).collect();
        assert_eq!(spans, [data[0], data[2]]);
        Ok((NtStatus::SUCCESS, 0))
    });
    assert_eq!(status, NtStatus::SUCCESS);
    let gap = UserList::new(&[Head::of(0, 0), Head::of(0, 0)]);
    let status = with_packet(Mode::User, gap.addr(), gap.length, WRITE, |packet| {
        probe::probe_stream_irp(packet, WRITE | LOCK | KSPROBE_SYSTEMADDRESS, BASE)?;
        assert!(packet.ptr(IRP::MdlAddress).is_none(), "no frame, no MDL");
        Ok((NtStatus::SUCCESS, 0))
    });
    assert_eq!(status, NtStatus::SUCCESS);
}

#[test]
fn ks_p_16_headers_and_mdls_are_walked_together() {
    let list = UserList::new(&[Head::of(0, 0), Head::of(3, 3), Head::of(0, 0), Head::of(5, 2)]);
    let status = with_packet(Mode::User, list.addr(), list.length, WRITE, |packet| {
        probe::probe_stream_irp(packet, WRITE | LOCK, BASE)?;
        let frames: Vec<_> = probe::frames(packet)
            .map(|frame| frame.expect("good").frame.map(|frame| frame.to_vec().expect("locked")))
            .collect();
        assert_eq!(frames, [None, Some(vec![2; 3]), None, Some(vec![4; 5])]);
        Ok((NtStatus::SUCCESS, 0))
    });
    assert_eq!(status, NtStatus::SUCCESS);
}

#[test]
fn ks_p_17_flags_without_what_they_build_on_do_nothing() {
    let list = UserList::new(&[Head::of(8, 8)]);
    let status = with_packet(Mode::User, list.addr(), list.length, WRITE, |packet| {
        probe::probe_stream_irp(packet, WRITE | KSPROBE_PROBEANDLOCK | KSPROBE_SYSTEMADDRESS, BASE)?;
        assert!(packet.ptr(IRP::MdlAddress).is_none());
        probe::probe_stream_irp(packet, WRITE | KSPROBE_ALLOCATEMDL | KSPROBE_SYSTEMADDRESS, BASE)?;
        let made = chain(packet)[0];
        assert_eq!((made.get(MDL::MdlFlags) & MDL_PAGES_LOCKED, made.addr_at(MDL::MappedSystemVa)), (0, 0));
        // Also with MDLs from before.
        probe::probe_stream_irp(packet, WRITE | KSPROBE_PROBEANDLOCK, BASE)?;
        probe::probe_stream_irp(packet, WRITE | KSPROBE_SYSTEMADDRESS, BASE)?;
        assert_eq!((made.get(MDL::MdlFlags) & MDL_PAGES_LOCKED, made.addr_at(MDL::MappedSystemVa)), (0, 0));
        probe::probe_stream_irp(packet, WRITE | LOCK | KSPROBE_SYSTEMADDRESS, BASE)?;
        assert!(made.get(MDL::MdlFlags) & MDL_PAGES_LOCKED != 0 && made.addr_at(MDL::MappedSystemVa) != 0);
        Ok((NtStatus::SUCCESS, 0))
    });
    assert_eq!(status, NtStatus::SUCCESS);
}

#[test]
fn ks_p_18_the_direction_decides_what_a_lock_asks_for() {
    for (flags, writes) in [(WRITE, false), (READ, true), (WRITE | KSPROBE_MODIFY, true)] {
        let list = UserList::new(&[Head::of(8, 8 * (flags & 1))]);
        let status = with_packet(Mode::User, list.addr(), list.length, flags & 1, move |packet| {
            probe::probe_stream_irp(packet, flags | LOCK, BASE)?;
            let flags = chain(packet)[0].get(MDL::MdlFlags);
            assert_eq!((flags & MDL_PAGES_LOCKED != 0, flags & MDL_WRITE_OPERATION != 0), (true, writes));
            Ok((NtStatus::SUCCESS, 0))
        });
        assert_eq!(status, NtStatus::SUCCESS);
        let room = UserList::new(&[Head::of(8, 0)]);
        room.block.protect(0, 4096, Protection::ReadOnly).expect("protect");
        let list = UserList::new(&[Head { data: Some(room.block.addr()), ..Head::of(8, 0) }]);
        let expected = if writes { NtStatus::ACCESS_VIOLATION } else { NtStatus::SUCCESS };
        assert_eq!(probed(Mode::User, list.addr(), list.length, flags | LOCK, BASE), expected, "{flags:#x}");
    }
    // The probe runs under the packet's requestor mode: kernel memory is no frame of a user caller's.
    let block = FrameList::filled(&[b"abcdefgh"]).expect("pool");
    let inside = Head { data: Some(block.frame(0).addr()), ..Head::of(8, 8) };
    assert_eq!(user(&[inside], WRITE | LOCK, BASE), NtStatus::ACCESS_VIOLATION);
    assert_eq!(kernel(&[inside], WRITE | LOCK, BASE), NtStatus::SUCCESS);
}

#[test]
fn ks_p_19_frames_in_nonpaged_pool_are_described_and_give_the_same() {
    let list = FrameList::filled(&[b"abc", b"", b"defg"]).expect("pool");
    for nonpaged in [false, true] {
        let flags = KSSTREAM_WRITE | if nonpaged { KSSTREAM_NONPAGED_DATA } else { 0 };
        let status = with_packet(Mode::Kernel, list.addr(), list.length(), flags, move |packet| {
            assert_eq!(chain(packet).len(), if nonpaged { 2 } else { 0 });
            probe::probe_stream_irp(packet, WRITE | LOCK | KSPROBE_SYSTEMADDRESS, BASE)?;
            let kinds: Vec<_> = chain(packet)
                .into_iter()
                .map(|mdl| mdl.get(MDL::MdlFlags) & (MDL_PAGES_LOCKED | MDL_SOURCE_IS_NONPAGED_POOL))
                .collect();
            let expected = if nonpaged { MDL_SOURCE_IS_NONPAGED_POOL } else { MDL_PAGES_LOCKED };
            assert_eq!(kinds, [expected; 2], "described, not locked");
            let frames: Vec<_> = probe::frames(packet)
                .filter_map(|frame| frame.expect("good").frame.map(|frame| frame.to_vec().expect("there")))
                .collect();
            assert_eq!(frames, [b"abc".to_vec(), b"defg".to_vec()]);
            Ok((NtStatus::SUCCESS, 7))
        });
        assert_eq!(status, NtStatus::SUCCESS);
    }
}

#[test]
fn ks_p_20_a_frame_that_faults_fails_the_probe_and_nothing_stays_locked() {
    let gone = UserList::new(&[Head::of(4096, 0)]);
    gone.block.protect(0, 4096, Protection::NoAccess).expect("protect");
    let bad = Head { data: Some(gone.block.addr()), ..Head::of(16, 16) };
    let list = UserList::new(&[Head::of(16, 16), bad]);
    let status = with_packet(Mode::User, list.addr(), list.length, WRITE, |packet| {
        let result = probe::probe_stream_irp(packet, WRITE | LOCK, BASE);
        let locked: Vec<_> =
            chain(packet).into_iter().map(|mdl| mdl.get(MDL::MdlFlags) & MDL_PAGES_LOCKED != 0).collect();
        assert_eq!(locked, [true, false], "what was locked is left to the completion");
        result.map(|()| (NtStatus::SUCCESS, 0))
    });
    assert_eq!(status, NtStatus::ACCESS_VIOLATION);
}

#[test]
fn ks_p_24_extra_data_follows_each_header_of_a_copy() {
    let list = UserList::new(&[Head { size: 64, ..Head::of(8, 1) }, Head { size: 64, ..Head::of(8, 2) }]);
    let status = with_packet(Mode::User, list.addr(), list.length, WRITE, |packet| {
        probe::probe_stream_irp(packet, WRITE, 64)?;
        let before = buffer_of(packet);
        assert_eq!(
            probe::allocate_extra_data(packet, 12).map(|_| ()).map_err(NtStatus::from),
            Err(NtStatus::INVALID_PARAMETER)
        );
        let extra = probe::allocate_extra_data(packet, 24)?;
        let made = Region::pool(extra, 2 * (64 + 24));
        let source = probe::list(packet);
        for index in 0..2 {
            let (copy, own) = (made.sub(index * 88, 64), source.sub(index * 64, 64));
            assert_eq!(copy.to_vec().expect("pool"), own.to_vec().expect("pool"));
            made.sub(index * 88 + 64, 24).fill(0xFF).expect("free bytes");
        }
        assert_eq!(buffer_of(packet), before, "the list of the packet stays");
        pool::free(extra);
        Ok((NtStatus::SUCCESS, 0))
    });
    assert_eq!(status, NtStatus::SUCCESS);
}

#[test]
fn ks_p_25_the_end_of_the_packet_frees_list_and_mdls() {
    let world = World::new();
    let own = |tag: &[u8; 4]| {
        let found = pool::outstanding(world.kernel.id()).into_iter().find(|(each, ..)| *each == pool::tag(tag));
        found.map_or(0, |(_, count, _)| count)
    };
    let stream = Stream::new(
        &world,
        Kind::new(|irp| {
            let result = probe::probe_stream_irp(irp.irp(), WRITE | LOCK | KSPROBE_SYSTEMADDRESS, BASE);
            irp.finish(result.map(|()| (NtStatus::SUCCESS, 8)))
        }),
    );
    let list = UserList::new(&[Head::of(8, 8), Head::of(8, 8)]);
    let request = StreamRequest { mode: Mode::User, headers: list.addr(), length: list.length, ..stream.request() };
    let before = (own(b"KsSh"), own(b"Mdl "));
    assert_eq!(stream.go_as(Mode::User, &request), NtStatus::SUCCESS);
    assert_eq!((own(b"KsSh"), own(b"Mdl ")), before);
}

#[test]
fn ks_p_23_a_bad_kernel_list_is_refused_without_mdls_too() {
    let bad = FrameList::filled(&[b"abc"]).expect("pool");
    bad.header(0).set(KSSTREAM_HEADER::DataUsed, 4);
    assert_eq!(probed(Mode::Kernel, bad.addr(), bad.length(), WRITE, BASE), NtStatus::INVALID_BUFFER_SIZE);
    assert_eq!(probed(Mode::Kernel, bad.addr(), bad.length(), WRITE | LOCK, BASE), NtStatus::INVALID_BUFFER_SIZE);
}

#[test]
fn ks_p_22_the_probe_leaves_the_status_of_the_packet_alone() {
    let list = FrameList::filled(&[b"abc"]).expect("pool");
    let status = with_packet(Mode::Kernel, list.addr(), list.length(), WRITE, |packet| {
        nt_io::irp::set_status(packet, nt_io::irp::IoStatus::new(NtStatus::DISK_FULL, 77));
        let good = probe::probe_stream_irp(packet, WRITE, BASE);
        assert!(good.is_ok());
        packet.set_ptr(IRP::AssociatedIrp_SystemBuffer, None);
        let bad = probe::probe_stream_irp(packet, READ, BASE);
        assert_eq!(bad.map_err(NtStatus::from), Err(NtStatus::INVALID_BUFFER_SIZE));
        let kept = nt_io::irp::status(packet);
        assert_eq!((kept.status, kept.information), (NtStatus::DISK_FULL, 77));
        let stack = nt_io::irp::current(packet);
        assert_eq!(stack.get(IO_STACK_LOCATION::DeviceIoControl_OutputBufferLength), BASE);
        Ok((NtStatus::SUCCESS, 0))
    });
    assert_eq!(status, NtStatus::SUCCESS);
}
