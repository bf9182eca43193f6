//! What tells files apart and what a name once was: ids, directories that mind case, names that are made again.
mod support;

use nt_abi::NtStatus;
use nt_io::info::class;
use support::*;

#[test]
fn nt_qry_09_ids_carry_a_sequence_in_their_upper_bits() {
    let world = World::new();
    let id = |name: &str| {
        let bytes = world.open_file(name, 0x80 | SYNCHRONIZE, SYNC).query(class::INTERNAL, 8);
        u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes"))
    };
    world.put("one", b"1");
    world.put("two", b"2");
    let (one, two, root) = (id("one"), id("two"), id(""));
    assert_ne!(one, two);
    assert_eq!(id("one"), one, "the same in each open");
    match &world.ground {
        None => {
            assert_eq!(root, 0x0005_0000_0000_0005);
            assert_eq!((one >> 48, two >> 48), (1, 1), "each index is in its first use");
        }
        Some(ground) => {
            use std::os::unix::fs::MetadataExt;
            let inode = |name: &str| std::fs::metadata(ground.path().join(name)).expect("stat").ino();
            let low = (1 << 48) - 1;
            assert_eq!((one & low, two & low, root & low), (inode("one") & low, inode("two") & low, inode("") & low));
            // What only a rename changes keeps its id.
            assert_eq!(world.to_delete("one").rename("three", false), NtStatus::SUCCESS);
            assert_eq!(id("three"), one);
        }
    }
}
