//! What holds under both policies whatever is asked, with random schedules.

use crate::scene::*;
use crate::support::*;
use nt_abi::NtStatus;
use nt_abi::flt::FLT_IO_PARAMETER_BLOCK;
use nt_abi::io::*;
use nt_cc::Policy;
use nt_fltmgr::{PostOp, PreOp};
use nt_io::info::class;
use nt_ke::Mutex;
use std::sync::Arc;

/// A small generator: the runs are the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }
}

const ROOM: u64 = 0x9000;

/// Runs a list of requests on two cached handles and a noncached one; `model` is what a reader must see.
fn run(scene: &Scene, name: &str, seed: u64, check: &dyn Fn(&Scene, &File<'_>, &[u8])) -> Vec<u8> {
    let mut dice = Dice(seed);
    let mut model: Vec<u8> = Vec::new();
    let (one, two) = (scene.open("F1", name, 0), scene.open("F2", name, 0));
    let raw = scene.open("F3", name, NONCACHED);
    for step in 0..220_u64 {
        let file = if dice.roll(2) == 0 { &one } else { &two };
        let (at, length) = (dice.roll(ROOM), dice.roll(0x1800) + 1);
        let byte = (step % 250) as u8 + 1;
        match dice.roll(12) {
            0..=4 => {
                assert_eq!(file.write(&vec![byte; length as usize], Some(at as i64)), success(length));
                let end = (at + length) as usize;
                model.resize(model.len().max(end), 0);
                model[at as usize..end].fill(byte);
            }
            5 | 6 => {
                let (at, length) = (at & !0x1FF, (length + 0x1FF) & !0x1FF);
                assert_eq!(raw.write(&vec![byte; length as usize], Some(at as i64)), success(length));
                let end = (at + length) as usize;
                model.resize(model.len().max(end), 0);
                model[at as usize..end].fill(byte);
            }
            7 => {
                assert_eq!(file.set(class::END_OF_FILE, &(at as i64).to_le_bytes()), NtStatus::SUCCESS);
                model.resize(at as usize, 0);
            }
            8 => assert_eq!(scene.flush(file), NtStatus::SUCCESS),
            9 => scene.round(),
            _ => {
                let end = model.len().min((at + length) as usize);
                let expected = model.get(at as usize..end).unwrap_or(&[]);
                assert_eq!(file.read(length as usize, Some(at as i64)).1, expected, "step {step} of seed {seed}");
            }
        }
        check(scene, &one, &model);
    }
    assert_eq!(scene.flush(&one), NtStatus::SUCCESS);
    let medium = scene.medium(&one, 0, model.len().max(1));
    assert_eq!(one.read(model.len().max(1), Some(0)).1, model, "seed {seed}");
    drop((one, two, raw));
    scene.round();
    medium
}

fn each(body: impl Fn(Policy, u64)) {
    for policy in [Policy::Behind, Policy::Through] {
        for seed in [0x9E37_79B9, 0xDEAD_BEEF_1234] {
            body(policy, seed);
        }
    }
}

#[test]
fn nt_ci_01_after_a_flush_the_medium_holds_what_a_cached_reader_sees() {
    each(|policy, seed| {
        let scene = Scene::with(policy);
        let plain = Mutex::new(Vec::new());
        let medium = run(&scene, "ci01", seed, &|_, _, model| *plain.lock() = model.to_vec());
        assert_eq!(medium, *plain.lock(), "{policy:?}");
    });
}

#[test]
fn nt_ci_02_no_paging_write_reaches_past_the_end_or_moves_it() {
    each(|policy, seed| {
        let scene = Scene::with(policy);
        run(&scene, "ci02", seed, &|scene, file, model| assert_eq!(scene.sizes(file).0, model.len() as i64));
        for event in scene.events().iter().filter(|event| event.post && event.irp_flags & IRP_PAGING_IO != 0) {
            if event.major == IRP_MJ_WRITE {
                assert!(
                    event.offset + event.information as i64 <= event.sizes.0 || event.information == 0,
                    "{event:?}"
                );
            }
        }
    });
}

#[test]
fn nt_ci_03_every_byte_that_changes_the_medium_passed_as_noncached() {
    each(|policy, seed| {
        let scene = Scene::with(policy);
        // What passes the filter as noncached, applied to an image of the medium.
        let image = Arc::new(Mutex::new(vec![0_u8; 0x10000]));
        let sink = image.clone();
        scene.world.watch(Watch {
            post: Box::new(move |data| {
                if data.irp_flags() & IRP_NOCACHE != 0 {
                    let iopb = data.iopb();
                    let bytes = match iopb.ptr(FLT_IO_PARAMETER_BLOCK::Write_MdlAddress) {
                        Some(mdl) => nt_mm::mdl::region(mdl).expect("locked"),
                        None => iopb.region_at(FLT_IO_PARAMETER_BLOCK::Write_WriteBuffer, data.length() as usize),
                    };
                    let bytes = bytes.sub(0, data.status().information as usize).to_vec().expect("readable");
                    let at = data.offset() as usize;
                    sink.lock()[at..at + bytes.len()].copy_from_slice(&bytes);
                }
                PostOp::Finished
            }),
            ..Watch::new("Image", "100000", &[IRP_MJ_WRITE])
        });
        let mut dice = Dice(seed);
        let (file, raw) = (scene.open("F1", "ci03", 0), scene.open("F2", "ci03", NONCACHED));
        for step in 0..150 {
            let (at, byte) = (dice.roll(0x8000), (step % 250) as u8 + 1);
            match dice.roll(4) {
                0 => assert_eq!(raw.write(&[byte; 0x200], Some((at & !0x1FF) as i64)), success(0x200)),
                1 => scene.round(),
                _ => {
                    let length = dice.roll(0x1000) + 1;
                    assert_eq!(file.write(&vec![byte; length as usize], Some(at as i64)), success(length));
                }
            }
        }
        assert_eq!(scene.flush(&file), NtStatus::SUCCESS);
        let end = scene.sizes(&file).0 as usize;
        let (medium, image) = (scene.medium(&file, 0, end), image.lock());
        let differs = medium.iter().zip(image.iter()).position(|(medium, image)| medium != image);
        assert_eq!(differs, None, "{policy:?}");
    });
}

#[test]
fn nt_ci_04_paging_writes_of_a_page_never_overlap_in_time() {
    let scene = Scene::new();
    let pages = Arc::new(Mutex::new(Vec::<(i64, i64)>::new()));
    let (before, after) = (pages.clone(), pages.clone());
    scene.world.watch(Watch {
        pre: Box::new(move |data| {
            if data.irp_flags() & IRP_PAGING_IO == 0 {
                return PreOp::NoCallback;
            }
            let range = (data.offset(), data.offset() + i64::from(data.length()));
            let mut pages = before.lock();
            assert!(pages.iter().all(|other| other.1 <= range.0 || range.1 <= other.0), "{range:?} meets {pages:?}");
            pages.push(range);
            drop(pages);
            std::thread::yield_now();
            PreOp::WithCallback(0)
        }),
        post: Box::new(move |data| {
            let range = (data.offset(), data.offset() + i64::from(data.length()));
            let mut pages = after.lock();
            let at = pages.iter().position(|other| *other == range).expect("on its way");
            pages.swap_remove(at);
            PostOp::Finished
        }),
        ..Watch::new("Overlap", "100000", &[IRP_MJ_WRITE])
    });
    let file = scene.open("F1", "ci04", 0);
    file.write(&[1; 0x8000], None);
    let kernel = &scene.world.kernel;
    std::thread::scope(|scope| {
        for seed in [3_u64, 5] {
            let thread = scene.world.processes.create_thread(kernel, &scene.world.process).expect("thread");
            let sections = scene.sections(&file);
            scope.spawn(move || {
                let _entered = nt_ke::enter(kernel, &thread, nt_ke::Mode::Kernel);
                let mut dice = Dice(seed);
                for _ in 0..200 {
                    let _written = nt_cc::flush(sections, Some((dice.roll(8) * 0x1000, 0x2000)));
                }
            });
        }
        let mut dice = Dice(7);
        for _ in 0..400 {
            file.write(b"again", Some(dice.roll(0x7000) as i64));
            if dice.roll(20) == 0 {
                scene.round();
            }
        }
    });
    assert!(pages.lock().is_empty());
}

#[test]
fn nt_ci_05_every_file_object_gets_its_close() {
    each(|policy, seed| {
        let scene = Scene::with(policy);
        run(&scene, "ci05", seed, &|_, _, _| {});
        let events = scene.events();
        let count = |major| events.iter().filter(|event| event.major == major && !event.post).count();
        assert_eq!((count(IRP_MJ_CREATE), count(IRP_MJ_CLEANUP), count(IRP_MJ_CLOSE)), (3, 3, 3), "{policy:?}");
        assert_eq!(scene.manager().cached_streams(), 0);
    });
}

#[test]
fn nt_ci_06_a_filter_that_transforms_what_is_noncached_is_invisible() {
    each(|policy, seed| {
        let scene = Scene::with(policy);
        let bytes = |data: nt_fltmgr::CallbackData, length: usize| {
            let iopb = data.iopb();
            match iopb.ptr(FLT_IO_PARAMETER_BLOCK::Write_MdlAddress) {
                Some(mdl) => nt_mm::mdl::region(mdl).expect("locked").sub(0, length),
                None => iopb.region_at(FLT_IO_PARAMETER_BLOCK::Write_WriteBuffer, length),
            }
        };
        let flip = move |data: nt_fltmgr::CallbackData, length: usize| {
            let region = bytes(data, length);
            let flipped: Vec<u8> = region.to_vec().expect("readable").iter().map(|byte| byte ^ 0xFF).collect();
            region.write_from(&flipped).expect("writable");
        };
        scene.world.watch(Watch {
            pre: Box::new(move |data| {
                if data.irp_flags() & IRP_NOCACHE == 0 {
                    return PreOp::NoCallback;
                }
                if data.major() == IRP_MJ_WRITE {
                    flip(data, data.length() as usize);
                }
                PreOp::WithCallback(0)
            }),
            post: Box::new(move |data| {
                // A write's buffer gets its bytes back; a read's are told plain.
                let count =
                    if data.major() == IRP_MJ_WRITE { u64::from(data.length()) } else { data.status().information };
                if !data.status().status.is_error() || data.major() == IRP_MJ_WRITE {
                    flip(data, count as usize);
                }
                PostOp::Finished
            }),
            ..Watch::new("Xor", "150000", &[IRP_MJ_READ, IRP_MJ_WRITE])
        });
        let mut dice = Dice(seed);
        let mut model = vec![0_u8; 0];
        let (file, raw) = (scene.open("F1", "ci06", 0), scene.open("F2", "ci06", NONCACHED));
        for step in 0..200_u64 {
            let byte = (step % 250) as u8 + 1;
            let (at, length) = (dice.roll(0x6000), dice.roll(0x1400) + 1);
            let (at, length, target) = match dice.roll(6) {
                0 => (at & !0x1FF, (length + 0x1FF) & !0x1FF, Some(&raw)),
                1 | 2 => (at, length, Some(&file)),
                3 => {
                    scene.round();
                    continue;
                }
                _ => (at, length, None),
            };
            let end = (at + length) as usize;
            match target {
                // The end stays at a sector's end, and no gap is left to a write that is not cached.
                Some(target) if target.handle == file.handle || end <= model.len() => {
                    assert_eq!(target.write(&vec![byte; length as usize], Some(at as i64)), success(length));
                    model.resize(model.len().max(end), 0);
                    model[at as usize..end].fill(byte);
                }
                Some(_) => {}
                None => {
                    let expected = model.get(at as usize..model.len().min(end)).unwrap_or(&[]);
                    assert_eq!(file.read(length as usize, Some(at as i64)).1, expected, "step {step}, {policy:?}");
                }
            }
        }
        assert_eq!(scene.flush(&file), NtStatus::SUCCESS);
        let medium: Vec<u8> = scene.medium(&file, 0, model.len()).iter().map(|byte| byte ^ 0xFF).collect();
        assert_eq!(medium, model, "flipped on the medium, {policy:?}");
    });
}

#[test]
fn nt_ci_07_both_policies_leave_the_same_medium() {
    for seed in [11, 0x1234_5678_9ABC] {
        let media =
            [Policy::Behind, Policy::Through].map(|policy| run(&Scene::with(policy), "ci07", seed, &|_, _, _| {}));
        assert_eq!(media[0], media[1]);
    }
}
