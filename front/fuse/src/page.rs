//! docs/posix-door.md and the code, held together.
//!
//! Room: front/fuse, tests only.

use crate::data::access_of;
use crate::errno::{Context, code};
use nt_machine::NtStatus;
use std::collections::{BTreeMap, BTreeSet};

const PAGE: &str = include_str!("../../../docs/posix-door.md");
const CONTEXTS: [(&str, Context); 6] = [
    ("path", Context::Path),
    ("data", Context::Data),
    ("link", Context::Link),
    ("owner", Context::Owner),
    ("readlink", Context::ReadLink),
    ("attribute", Context::Attribute),
];

/// The cells of the table below a heading.
fn table(heading: &str) -> Vec<Vec<&'static str>> {
    let part = PAGE.split("\n## ").find(|part| part.starts_with(heading)).expect("the heading is there");
    let rows = part.lines().filter(|line| line.starts_with("| ") || line.starts_with("|-"));
    rows.skip(2)
        .map(|row| row.trim_matches('|').split(" | ").map(|cell| cell.trim().trim_end_matches(" |")).collect())
        .collect()
}

#[test]
fn each_operation_that_is_served_has_a_row_and_each_row_is_served() {
    let listed: BTreeSet<String> =
        table("Operations").iter().flat_map(|row| row[0].split(", ").map(str::to_owned)).collect();
    let sources = [include_str!("dispatch.rs"), include_str!("session.rs")];
    let served: BTreeSet<String> = sources
        .iter()
        .flat_map(|source| source.split("opcode::").skip(1))
        .map(|rest| rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect::<String>())
        .filter(|name| !name.is_empty() && name != "INIT")
        .collect();
    assert_eq!(listed, served);
}

/// The operations of include/uapi/linux/fuse.h, protocol 7.45, by number.
const PROTOCOL: &str = "1 LOOKUP 2 FORGET 3 GETATTR 4 SETATTR 5 READLINK 6 SYMLINK 8 MKNOD 9 MKDIR 10 UNLINK 11 RMDIR 12 RENAME 13 LINK \
    14 OPEN 15 READ 16 WRITE 17 STATFS 18 RELEASE 20 FSYNC 21 SETXATTR 22 GETXATTR 23 LISTXATTR 24 REMOVEXATTR 25 FLUSH 26 INIT \
    27 OPENDIR 28 READDIR 29 RELEASEDIR 30 FSYNCDIR 31 GETLK 32 SETLK 33 SETLKW 34 ACCESS 35 CREATE 36 INTERRUPT 37 BMAP 38 DESTROY \
    39 IOCTL 40 POLL 41 NOTIFY_REPLY 42 BATCH_FORGET 43 FALLOCATE 44 READDIRPLUS 45 RENAME2 46 LSEEK 47 COPY_FILE_RANGE \
    48 SETUPMAPPING 49 REMOVEMAPPING 50 SYNCFS 51 TMPFILE 52 STATX 53 COPY_FILE_RANGE_64 4096 CUSE_INIT";

#[test]
fn each_operation_of_the_protocol_is_served_or_left_to_the_kernel_by_the_page() {
    let words: Vec<&str> = PROTOCOL.split_whitespace().collect();
    let all: BTreeMap<&str, &str> = words.chunks_exact(2).map(|pair| (pair[1], pair[0])).collect();
    let names = |heading: &str| table(heading).iter().flat_map(|row| row[0].split(", ")).collect::<BTreeSet<&str>>();
    let (served, left) = (names("Operations"), names("Left to the kernel"));
    assert_eq!(served.intersection(&left).count(), 0);
    let known: BTreeSet<&str> = served.union(&left).copied().chain(["INIT"]).collect();
    assert_eq!(known, all.keys().copied().collect());
    // The numbers that are served are the header's.
    for line in include_str!("protocol.rs").lines().filter_map(|line| line.trim().strip_prefix("pub(crate) const ")) {
        if let Some((name, number)) = line.split_once(": u32 = ") {
            assert_eq!(all.get(name), Some(&number.trim_end_matches(';')), "{name}");
        }
    }
}

#[test]
fn each_flag_asks_for_what_its_row_says() {
    let rows = table("Opening");
    assert!(rows.len() >= 12);
    for row in rows {
        let flags = row[0].split(' ').fold(0, |flags, word| {
            flags
                | match word {
                    "O_RDONLY" => libc::O_RDONLY,
                    "O_WRONLY" => libc::O_WRONLY,
                    "O_RDWR" => libc::O_RDWR,
                    "O_APPEND" => libc::O_APPEND,
                    "O_DIRECT" => libc::O_DIRECT,
                    "O_SYNC" => libc::O_SYNC,
                    "O_DSYNC" => libc::O_DSYNC,
                    "FMODE_EXEC" => 0x20,
                    other => panic!("{other} is not known here"),
                }
        });
        let (access, options) = access_of(flags);
        assert_eq!([format!("{access:08X}"), format!("{options:08X}")], [row[1], row[2]], "{}", row[0]);
    }
}

fn number(name: &str) -> i32 {
    let known = [
        ("EACCES", libc::EACCES),
        ("EPERM", libc::EPERM),
        ("EROFS", libc::EROFS),
        ("ENOENT", libc::ENOENT),
        ("EINVAL", libc::EINVAL),
        ("EEXIST", libc::EEXIST),
        ("ENAMETOOLONG", libc::ENAMETOOLONG),
        ("EISDIR", libc::EISDIR),
        ("ENOTDIR", libc::ENOTDIR),
        ("ENOTEMPTY", libc::ENOTEMPTY),
        ("EBUSY", libc::EBUSY),
        ("ETXTBSY", libc::ETXTBSY),
        ("EMLINK", libc::EMLINK),
        ("EXDEV", libc::EXDEV),
        ("ENOSPC", libc::ENOSPC),
        ("EDQUOT", libc::EDQUOT),
        ("EFBIG", libc::EFBIG),
        ("ENODATA", libc::ENODATA),
        ("ENOTSUP", libc::ENOTSUP),
        ("EOPNOTSUPP", libc::EOPNOTSUPP),
        ("EBADF", libc::EBADF),
        ("EFAULT", libc::EFAULT),
        ("ENOMEM", libc::ENOMEM),
        ("ENFILE", libc::ENFILE),
        ("ECANCELED", libc::ECANCELED),
        ("ETIMEDOUT", libc::ETIMEDOUT),
        ("EAGAIN", libc::EAGAIN),
        ("ENXIO", libc::ENXIO),
        ("ENODEV", libc::ENODEV),
        ("ESHUTDOWN", libc::ESHUTDOWN),
        ("ESTALE", libc::ESTALE),
        ("EUCLEAN", libc::EUCLEAN),
        ("ELOOP", libc::ELOOP),
        ("EILSEQ", libc::EILSEQ),
        ("EINTR", libc::EINTR),
    ];
    known.iter().find(|(there, _)| *there == name).unwrap_or_else(|| panic!("{name} is not known here")).1
}

fn hexadecimal(cell: &str) -> u32 {
    u32::from_str_radix(cell, 16).unwrap_or_else(|_| panic!("`{cell}` is not a status"))
}

#[test]
fn each_status_becomes_the_errno_of_its_row_and_every_other_is_eio() {
    let mut expected: BTreeMap<u32, [i32; 6]> = BTreeMap::new();
    for row in table("Status to errno") {
        let mut each = [number(row[1]); 6];
        if let Some((name, contexts)) = row.get(2).and_then(|cell| cell.split_once(": ")) {
            for context in contexts.split(", ") {
                let at = CONTEXTS.iter().position(|(there, _)| *there == context).expect("a known operation");
                each[at] = number(name);
            }
        }
        let codes: Vec<&str> = row[0].split('`').skip(1).step_by(2).collect();
        let range = row[0].contains("` to `");
        let (single, ends) = codes.split_at(if range { codes.len() - 2 } else { codes.len() });
        expected.extend(single.iter().map(|cell| (hexadecimal(cell), each)));
        if let [first, last] = ends {
            expected.extend((hexadecimal(first)..=hexadecimal(last)).map(|status| (status, each)));
        }
    }
    let all = (0..0x1_0000u32).flat_map(|low| [0x8000_0000 | low, 0xC000_0000 | low, 0xC01C_0000 | low]);
    for status in all.chain([0x102]) {
        let wanted = expected.get(&status).copied().unwrap_or([libc::EIO; 6]);
        for ((name, context), wanted) in CONTEXTS.iter().zip(wanted) {
            assert_eq!(code(NtStatus(status), *context), wanted, "{status:#x} in {name}");
        }
    }
}
