//! Paging writes that fail, or that a filter answers.

use crate::scene::*;
use crate::support::*;
use nt_abi::NtStatus;
use nt_fltmgr::PreOp;
use nt_io::irp::IoStatus;

#[test]
fn nt_cc_78_who_waits_gets_the_status_and_the_pages_stay_dirty() {
    let scene = Scene::new();
    let file = scene.open("F1", "cc78", 0);
    file.write(b"12345", None);
    scene.fail_paging_writes(NtStatus::IO_DEVICE_ERROR);
    assert_eq!(scene.flush(&file), NtStatus::IO_DEVICE_ERROR);
    assert_eq!(scene.map(&file).expect("cached").dirty_pages(), 1);
    scene.off();
    assert_eq!((scene.flush(&file), scene.medium(&file, 0, 5)), (NtStatus::SUCCESS, b"12345".to_vec()));
}

#[test]
fn nt_cc_79_a_lost_write_is_counted_and_told_and_the_writer_never_hears() {
    let scene = Scene::new();
    let findings = scene.world.findings();
    let file = scene.open("F1", "cc79", 0);
    file.write(b"12345", None);
    scene.fail_paging_writes(NtStatus::IO_DEVICE_ERROR);
    for _ in 0..3 {
        scene.round();
    }
    scene.off();
    assert_eq!((scene.manager().losses().len(), findings.take("NT-CC-79").len()), (1, 1));
    assert_eq!(scene.map(&file).expect("cached").dirty_pages(), 0, "the data is dropped");
    assert_eq!(file.write(b"6", Some(5)), success(1));
    assert_eq!(scene.flush(&file), NtStatus::SUCCESS);
}

#[test]
fn nt_cc_80_what_passes_is_tried_without_end_and_the_rest_three_times() {
    let scene = Scene::new();
    let passing = [
        NtStatus::FILE_LOCK_CONFLICT,
        NtStatus::INSUFFICIENT_RESOURCES,
        NtStatus::CANT_WAIT,
        NtStatus::VERIFY_REQUIRED,
        NtStatus::DEVICE_NOT_READY,
    ];
    let file = scene.open("F1", "cc80", 0);
    file.write(b"12345", None);
    for status in passing {
        scene.fail_paging_writes(status);
        for _ in 0..4 {
            scene.round();
        }
        assert_eq!((scene.manager().losses().len(), scene.manager().dirty_pages()), (0, 1), "{status}");
    }
    scene.fail_paging_writes(NtStatus::ACCESS_DENIED);
    for lost in [0, 0, 1] {
        scene.round();
        assert_eq!(scene.manager().losses().len(), lost);
    }
    let loss = &scene.manager().losses()[0];
    assert_eq!((loss.offset, loss.length, loss.status), (0, 0x1000, NtStatus::ACCESS_DENIED));
    assert!(loss.file.ends_with("cc80"), "{loss:?}");
    scene.off();
}

#[test]
fn nt_cc_81_a_filter_that_completes_a_paging_write_has_thrown_data_away() {
    let scene = Scene::new();
    let file = scene.open("F1", "cc81", 0);
    file.write(b"12345", None);
    scene.on(|event, _| (event.irp_flags == 0x43).then_some(PreOp::Complete(IoStatus::new(NtStatus::SUCCESS, 0x1000))));
    scene.round();
    scene.off();
    assert_eq!((scene.manager().dirty_pages(), scene.medium(&file, 0, 5)), (0, vec![0; 5]), "clean, and not there");
    assert!(scene.manager().losses().is_empty());
}
