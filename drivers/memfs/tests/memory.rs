//! What a file and an open of it take in memory, on a `ram` volume: the process's resident pages, over many of them.

mod support;

use nt_io::create::{self, CreateSpec};
use nt_ob::Handle;
use support::*;

const FOLDERS: usize = 20;
const FILES: usize = 1000;
const MOST: usize = 1024;

/// Resident bytes of this process that are its own.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("a status");
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).expect("RssAnon");
    let kibibytes: usize = line.split_whitespace().nth(1).and_then(|word| word.parse().ok()).expect("a number");
    kibibytes * 1024
}

impl World {
    fn one(&self, folder: usize, file: usize, disposition: u32) -> Handle {
        let spec = CreateSpec {
            access: GENERIC_READ | SYNCHRONIZE,
            name: format!("\\??\\C:\\d{folder:02}\\file-{file:04}.txt").encode_utf16().collect(),
            attributes: 0,
            options: SYNC,
            disposition,
            ..CreateSpec::default()
        };
        create::nt_create_file(&self.frame(), &spec).expect("a file").0
    }
}

#[test]
fn a_file_and_an_open_of_it_take_less_than_a_kibibyte_each() {
    let world = World::on(nt_ke::WindowsVersion::default(), None, None);
    // What is made once is made before.
    for folder in 0..FOLDERS {
        drop(world.directory(&format!("d{folder:02}")));
        drop(world.adopt(world.one(folder, FILES, 2)));
    }
    let each = |disposition| {
        let before = resident();
        let mut handles = Vec::with_capacity(FOLDERS * FILES);
        for folder in 0..FOLDERS {
            for file in 0..FILES {
                let handle = world.one(folder, file, disposition);
                if disposition == 2 {
                    drop(world.adopt(handle));
                } else {
                    handles.push(handle);
                }
            }
        }
        let taken = resident().saturating_sub(before) / (FOLDERS * FILES);
        handles.into_iter().for_each(|handle| drop(world.adopt(handle)));
        taken
    };
    let (file, open) = (each(2), each(1));
    assert!((1..MOST).contains(&file), "{file} bytes for a file, {open} for an open of it");
    assert!((1..MOST).contains(&open), "{open} bytes for an open");
}
