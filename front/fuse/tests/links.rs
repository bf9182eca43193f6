//! Links of the volume as Linux programs meet them: those they made, and NT's own.
//!
//! These tests fail where /dev/fuse is absent; NTIO_NO_FUSE=1 says that it is known to be.

mod support;

use nt_abi::NtStatus;
use nt_machine::{Client, CreateSpec, file};
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::path::PathBuf;
use support::Mount;

const SET_REPARSE: u32 = 0x9_00A4;
const GET_REPARSE: u32 = 0x9_00A8;
const DIRECTORY: u32 = 1;
const OPEN_REPARSE: u32 = 0x20_0000;
const ATTRIBUTE_TAG: u32 = 35;

fn units(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

fn data(tag: u32, words: &[u16], name: &[u8]) -> Vec<u8> {
    let mut data = tag.to_le_bytes().to_vec();
    data.extend_from_slice(&(words.len() as u16 * 2 + name.len() as u16).to_le_bytes());
    data.extend_from_slice(&[0; 2]);
    data.extend(words.iter().flat_map(|word| word.to_le_bytes()));
    data.extend_from_slice(name);
    data
}

fn nt_symlink(target: &str, relative: bool) -> Vec<u8> {
    let name = units(target);
    let length = name.len() as u16;
    data(0xA000_000C, &[0, length, length, length, u16::from(relative), 0], &name.repeat(2))
}

fn junction(target: &str) -> Vec<u8> {
    let name = units(target);
    let length = name.len() as u16;
    data(0xA000_0003, &[0, length, length + 2, 0], &[name, vec![0; 4]].concat())
}

/// A tag of nobody's.
fn unknown() -> Vec<u8> {
    let mut data = 0x5678_u32.to_le_bytes().to_vec();
    data.extend_from_slice(&[4, 0, 0, 0]);
    data.extend_from_slice(&[7; 20]);
    data
}

struct Native<'a>(&'a Client);

impl Native<'_> {
    fn spec(name: &str, options: u32) -> CreateSpec {
        CreateSpec { options: 0x20 | options, ..file::spec(&format!("C:\\{name}")) }
    }
    /// A new reparse point.
    fn put(&self, name: &str, options: u32, data: &[u8]) {
        let (handle, _) = self.0.create(&Self::spec(name, options)).expect("a file");
        self.0.control(handle, true, SET_REPARSE, data, &mut []).expect("FSCTL_SET_REPARSE_POINT");
        self.0.close(handle).expect("open");
    }
    /// Opens what is there, and closes it again.
    fn opens(&self, name: &str, options: u32) -> Result<(), NtStatus> {
        let spec = CreateSpec { access: 0x80 | file::SYNCHRONIZE, disposition: 1, ..Self::spec(name, options) };
        let (handle, _) = self.0.create(&spec).map_err(NtStatus::from)?;
        self.0.close(handle).expect("open");
        Ok(())
    }
    /// The tag, and the reparse data behind the header.
    fn reparse(&self, name: &str) -> (u32, Vec<u8>) {
        let spec = CreateSpec { access: 0x80 | file::SYNCHRONIZE, disposition: 1, ..Self::spec(name, OPEN_REPARSE) };
        let (handle, _) = self.0.create(&spec).expect("the link itself");
        let (mut bytes, mut tag) = (vec![0; 4096], [0; 8]);
        let count = self.0.control(handle, true, GET_REPARSE, &[], &mut bytes).expect("FSCTL_GET_REPARSE_POINT");
        self.0.query_information(handle, ATTRIBUTE_TAG, &mut tag).expect("FileAttributeTagInformation");
        self.0.close(handle).expect("open");
        assert_eq!(tag[4..], bytes[..4]);
        (u32::from_le_bytes(tag[4..].try_into().expect("four")), bytes[8..count].to_vec())
    }
}

fn errno<T: std::fmt::Debug>(result: io::Result<T>) -> i32 {
    result.expect_err("refused").raw_os_error().expect("by the kernel")
}

fn leads(mount: &Mount, name: &str) -> PathBuf {
    let meta = fs::symlink_metadata(mount.at(name)).expect("lstat");
    let target = fs::read_link(mount.at(name)).expect("readlink");
    assert!(meta.file_type().is_symlink(), "{name}");
    assert_eq!(meta.len(), target.as_os_str().len() as u64, "{name}: st_size is the target's length");
    target
}

/// A mount with `d\f` and `d\e`.
fn furnished() -> Option<Mount> {
    let mount = Mount::new()?;
    fs::create_dir_all(mount.at("d/e")).expect("mkdir");
    fs::write(mount.at("d/f"), "found").expect("write");
    Some(mount)
}

#[test]
fn nt_rep_18_nt_links_are_links_and_a_tag_of_nobodys_is_a_loop() {
    let Some(mount) = furnished() else { return };
    let client = mount.native();
    let native = Native(&client);
    native.put("relative", 0, &nt_symlink("d\\f", true));
    native.put("dirlink", DIRECTORY, &nt_symlink("d", true));
    native.put("junction", DIRECTORY, &junction("\\??\\C:\\d"));
    native.put("own", 0, &unknown());
    assert_eq!(leads(&mount, "relative"), PathBuf::from("d/f"));
    assert_eq!(leads(&mount, "dirlink"), PathBuf::from("d"));
    assert_eq!(leads(&mount, "junction"), PathBuf::from("d"));
    for path in ["relative", "dirlink/f", "junction/f"] {
        assert_eq!(fs::read_to_string(mount.at(path)).expect(path), "found");
    }
    fs::write(mount.at("junction/new"), "through").expect("create below the junction");
    assert_eq!(fs::read_to_string(mount.at("d/new")).expect("read"), "through");
    assert!(fs::symlink_metadata(mount.at("own")).expect("lstat").is_file());
    assert_eq!(errno(fs::read(mount.at("own"))), libc::ELOOP);
    let kinds = fs::read_dir(mount.at("")).expect("list").map(|entry| entry.expect("entry"));
    let links = kinds.filter(|entry| entry.file_type().expect("d_type").is_symlink()).count();
    assert_eq!(links, 3, "a listing shows them too");
}

#[test]
fn nt_rep_20_a_tag_of_nobodys_on_the_way_ends_it() {
    let Some(mount) = furnished() else { return };
    let client = mount.native();
    Native(&client).put("custom", DIRECTORY, &unknown());
    assert!(fs::symlink_metadata(mount.at("custom")).expect("lstat itself").is_dir());
    assert_eq!(errno(fs::symlink_metadata(mount.at("custom/f"))), libc::ELOOP);
    assert_eq!(errno(fs::write(mount.at("custom/f"), "x")), libc::ELOOP);
    assert_eq!(errno(fs::read_dir(mount.at("custom")).map(|_| ())), libc::ELOOP);
}

#[test]
fn nt_rep_22_a_mount_point_that_leads_to_itself_is_a_loop() {
    let Some(mount) = furnished() else { return };
    let client = mount.native();
    let native = Native(&client);
    native.put("itself", DIRECTORY, &junction("\\??\\C:\\itself"));
    native.put("absent", DIRECTORY, &junction("\\??\\C:\\nowhere"));
    native.put("garbage", DIRECTORY, &junction("foobar"));
    assert_eq!(errno(fs::metadata(mount.at("itself"))), libc::ELOOP);
    assert_eq!(native.opens("itself", 0), Err(NtStatus::REPARSE_POINT_NOT_RESOLVED));
    for name in ["absent", "garbage"] {
        assert_eq!(errno(fs::metadata(mount.at(name))), libc::ENOENT);
    }
}

#[test]
fn nt_rep_23_linux_follows_forty_links() {
    let Some(mount) = furnished() else { return };
    let client = mount.native();
    let native = Native(&client);
    fs::write(mount.at("l0"), "end").expect("write");
    for number in 1..=64 {
        native.put(&format!("l{number}"), 0, &nt_symlink(&format!("l{}", number - 1), true));
    }
    assert_eq!(fs::read_to_string(mount.at("l40")).expect("forty"), "end");
    assert_eq!(errno(fs::read(mount.at("l41"))), libc::ELOOP);
    assert_eq!((native.opens("l63", 0), native.opens("l64", 0)), (Ok(()), Err(NtStatus::REPARSE_POINT_NOT_RESOLVED)));
}

#[test]
fn nt_rep_24_relative_targets_are_told_with_slashes() {
    let Some(mount) = furnished() else { return };
    let client = mount.native();
    let native = Native(&client);
    for (number, (target, expected)) in
        [("..\\f", "../f"), (".\\..\\f", "./../f"), ("\\d\\f", "../../d/f"), ("..\\e\\..\\f", "../e/../f")]
            .into_iter()
            .enumerate()
    {
        let name = format!("d\\e\\l{number}");
        native.put(&name, 0, &nt_symlink(target, true));
        let path = format!("d/e/l{number}");
        assert_eq!(leads(&mount, &path), PathBuf::from(expected));
        assert_eq!(fs::read_to_string(mount.at(&path)).expect(target), "found");
        assert_eq!(native.opens(&name, 0), Ok(()), "and natively: {target}");
    }
    // A name with a character that Windows forbids is the same file by either link.
    fs::write(mount.at("d/a:b"), "colon").expect("write");
    native.put("d\\colon", 0, &nt_symlink("a\u{f03a}b", true));
    assert_eq!((leads(&mount, "d/colon"), native.opens("d\\colon", 0)), (PathBuf::from("a:b"), Ok(())));
    assert_eq!(fs::read_to_string(mount.at("d/colon")).expect("read"), "colon");
}

#[test]
fn nt_rep_25_absolute_targets_are_told_from_the_links_place() {
    let Some(mount) = furnished() else { return };
    let client = mount.native();
    let native = Native(&client);
    for (name, target, expected) in [
        ("d\\e\\one", "\\??\\C:\\d\\f", "../../d/f"),
        ("two", "\\??\\C:\\d\\f", "d/f"),
        ("d\\three", "\\Device\\HarddiskVolume1\\d\\f", "../d/f"),
    ] {
        native.put(name, 0, &nt_symlink(target, false));
        let path = name.replace('\\', "/");
        assert_eq!(leads(&mount, &path), PathBuf::from(expected));
        assert_eq!((fs::read_to_string(mount.at(&path)).expect(name), native.opens(name, 0)), ("found".into(), Ok(())));
    }
    native.put("d\\root", DIRECTORY, &junction("\\??\\C:\\"));
    native.put("top", DIRECTORY, &junction("\\??\\C:\\"));
    assert_eq!((leads(&mount, "d/root"), leads(&mount, "top")), (PathBuf::from(".."), PathBuf::from(".")));
    assert_eq!(fs::read_to_string(mount.at("d/root/top/d/f")).expect("round"), "found");
    // Another volume's name is no path of this mount.
    native.put("away", 0, &nt_symlink("\\??\\Z:\\f", false));
    assert_eq!((leads(&mount, "away"), errno(fs::read(mount.at("away")))), (PathBuf::from("/??/Z:/f"), libc::ENOENT));
}

#[test]
fn nt_rep_26_linux_does_not_mind_the_kind_of_a_link() {
    let Some(mount) = furnished() else { return };
    let client = mount.native();
    let native = Native(&client);
    native.put("file link to a directory", 0, &nt_symlink("d", true));
    native.put("directory link to a file", DIRECTORY, &nt_symlink("d\\f", true));
    assert_eq!(fs::read_to_string(mount.at("file link to a directory/f")).expect("read"), "found");
    assert_eq!(fs::read_to_string(mount.at("directory link to a file")).expect("read"), "found");
    assert_eq!(native.opens("file link to a directory", 0), Err(NtStatus::FILE_IS_A_DIRECTORY));
    assert_eq!(native.opens("directory link to a file", 0), Err(NtStatus::NOT_A_DIRECTORY));
    // A program's own link is a file, whatever it leads to.
    symlink("d", mount.at("own")).expect("symlink");
    let (tag, bytes) = native.reparse("own");
    assert_eq!((tag, &bytes[4..]), (0xA000_001D, b"d".as_slice()));
    assert_eq!(native.opens("own", OPEN_REPARSE | 0x40), Ok(()));
}

#[test]
fn nt_rep_27_a_dangling_link_makes_its_target() {
    let Some(mount) = furnished() else { return };
    let client = mount.native();
    let native = Native(&client);
    native.put("nt", 0, &nt_symlink("d\\made by nt", true));
    symlink("d/made by linux", mount.at("linux")).expect("symlink");
    for (link, target) in [("nt", "d/made by nt"), ("linux", "d/made by linux")] {
        assert_eq!(errno(fs::File::options().write(true).create_new(true).open(mount.at(link))), libc::EEXIST);
        assert_eq!(errno(fs::create_dir(mount.at(link))), libc::EEXIST);
        fs::write(mount.at(link), "new").expect("O_CREAT");
        assert_eq!(fs::read_to_string(mount.at(target)).expect("the target"), "new");
        assert!(fs::symlink_metadata(mount.at(link)).expect("lstat").file_type().is_symlink());
    }
}

#[test]
fn nt_rep_29_the_name_of_an_open_file_is_the_targets() {
    let Some(mount) = furnished() else { return };
    let client = mount.native();
    Native(&client).put("link", 0, &nt_symlink("d\\f", true));
    use std::os::fd::AsRawFd;
    let open = fs::File::open(mount.at("link")).expect("open");
    let known = fs::read_link(format!("/proc/self/fd/{}", open.as_raw_fd())).expect("its name");
    assert_eq!(known, fs::canonicalize(mount.at("d/f")).expect("a path"));
}

#[test]
fn nt_rep_31_unlink_and_rename_act_on_the_link() {
    let Some(mount) = furnished() else { return };
    let client = mount.native();
    let native = Native(&client);
    native.put("file", 0, &nt_symlink("d\\f", true));
    native.put("dir", DIRECTORY, &junction("\\??\\C:\\d"));
    symlink("d/f", mount.at("own")).expect("symlink");
    for name in ["file", "dir", "own"] {
        fs::rename(mount.at(name), mount.at("moved")).expect("rename");
        let way = if name == "dir" { "moved/f" } else { "moved" };
        assert_eq!(fs::read_to_string(mount.at(way)).expect("read"), "found");
        assert_eq!(errno(fs::remove_dir(mount.at("moved"))), libc::ENOTDIR);
        fs::remove_file(mount.at("moved")).expect("unlink");
        assert_eq!(errno(fs::symlink_metadata(mount.at("moved"))), libc::ENOENT);
        assert_eq!(fs::read_to_string(mount.at("d/f")).expect("the target stays"), "found");
    }
}

#[test]
fn nt_rep_35_special_files_are_tags_on_empty_files() {
    let Some(mount) = furnished() else { return };
    let client = mount.native();
    let native = Native(&client);
    let mode = Mode::from_raw_mode(0o640);
    let device = makedev(5, 1);
    for (name, kind, number, tag) in [
        ("pipe", FileType::Fifo, 0, 0x8000_0024_u32),
        ("socket", FileType::Socket, 0, 0x8000_0023),
        ("char", FileType::CharacterDevice, device, 0x8000_0025),
        ("block", FileType::BlockDevice, device, 0x8000_0026),
    ] {
        mknodat(CWD, mount.at(name), kind, mode, number).expect("mknod");
        let meta = fs::symlink_metadata(mount.at(name)).expect("lstat");
        let right = match name {
            "pipe" => meta.file_type().is_fifo(),
            "socket" => meta.file_type().is_socket(),
            "char" => meta.file_type().is_char_device(),
            _ => meta.file_type().is_block_device(),
        };
        assert!(right && meta.len() == 0, "{name}");
        assert_eq!(meta.rdev(), number, "{name}");
        assert_eq!(native.reparse(name), (tag, Vec::new()), "{name}");
        assert_eq!(native.opens(name, 0), Err(NtStatus::IO_REPARSE_TAG_NOT_HANDLED), "{name}");
        let spec = CreateSpec { disposition: 1, access: 0x89 | file::SYNCHRONIZE, ..Native::spec(name, OPEN_REPARSE) };
        let (handle, _) = client.create(&spec).expect("itself");
        let mut list = vec![0; 4096];
        let count = client.query_ea(handle, &mut list).expect("attributes");
        client.close(handle).expect("open");
        let list = nt_machine::ea::decode(&list[..count]);
        let value = |name: &[u8]| list.iter().find(|(there, _)| there == name).map(|(_, value)| value.clone());
        let bits = kind.as_raw_mode() | 0o640;
        assert_eq!(value(b"$LXMOD"), Some(bits.to_le_bytes().to_vec()), "{name}");
        let numbers = (number != 0).then(|| [5_u32.to_le_bytes(), 1_u32.to_le_bytes()].concat());
        assert_eq!(value(b"$LXDEV"), numbers, "{name}");
    }
}
