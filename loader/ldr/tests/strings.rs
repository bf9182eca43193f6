//! The C runtime's names, called as a driver calls them, against what C says they return.
#![allow(unsafe_code, reason = "names code by address")]

use nt_abi::NtStatus;
use nt_cell::{CodePtr, Entry, UserBlock, callout};

fn code(name: &str) -> CodePtr {
    let row = nt_ldr::EXPORTS.iter().chain(nt_ldr::STRING_EXPORTS).find(|row| row.name == name);
    let (Entry::Code(at) | Entry::Raises(at)) = row.unwrap_or_else(|| panic!("{name}")).entry else { panic!("{name}") };
    // SAFETY: a win64 routine; the cases below pass the arguments that C declares for it.
    unsafe { CodePtr::from_raw((at as *const ()).expose_provenance() as u64) }.expect("not null")
}

fn call(name: &str, args: &[u64]) -> u64 {
    callout::call(code(name), args).unwrap_or_else(|raised| panic!("{name}: {raised:?}"))
}

fn narrow(text: &str) -> UserBlock {
    let block = UserBlock::guarded(text.len() + 1).expect("arena");
    block.region().sub(0, text.len()).write_from(text.as_bytes()).expect("mapped");
    block
}

fn wide(text: &str) -> UserBlock {
    let bytes: Vec<u8> = text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
    let block = UserBlock::guarded(bytes.len()).expect("arena");
    block.region().write_from(&bytes).expect("mapped");
    block
}

fn sign(value: u64) -> i32 {
    (value as i32).signum()
}

#[test]
fn comparisons_order_as_c_does() {
    let order = |a: &str, b: &str| match a.cmp(b) {
        std::cmp::Ordering::Less => -1,
        std::cmp::Ordering::Equal => 0,
        std::cmp::Ordering::Greater => 1,
    };
    let words = ["", "a", "ab", "abc", "abd", "b", "Abc", "aBD", "zz"];
    for a in words {
        for b in words {
            let (n, m, w, v) = (narrow(a), narrow(b), wide(a), wide(b));
            assert_eq!(sign(call("strcmp", &[n.addr(), m.addr()])), order(a, b), "{a} {b}");
            assert_eq!(sign(call("wcscmp", &[w.addr(), v.addr()])), order(a, b), "{a} {b}");
            let folded = order(&a.to_lowercase(), &b.to_lowercase());
            assert_eq!(sign(call("_stricmp", &[n.addr(), m.addr()])), folded, "{a} {b}");
            assert_eq!(sign(call("_wcsicmp", &[w.addr(), v.addr()])), folded, "{a} {b}");
            for most in 0..4 {
                let cut = |text: &str| text.chars().take(most).collect::<String>();
                let most = most as u64;
                assert_eq!(
                    sign(call("strncmp", &[n.addr(), m.addr(), most])),
                    order(&cut(a), &cut(b)),
                    "{a} {b} {most}"
                );
                let folded = order(&cut(a).to_lowercase(), &cut(b).to_lowercase());
                assert_eq!(sign(call("_strnicmp", &[n.addr(), m.addr(), most])), folded, "{a} {b} {most}");
                assert_eq!(sign(call("_wcsnicmp", &[w.addr(), v.addr(), most])), folded, "{a} {b} {most}");
            }
            let bytes = a.len().min(b.len());
            let expected = a.as_bytes()[..bytes].cmp(&b.as_bytes()[..bytes]) as i32;
            assert_eq!(sign(call("memcmp", &[n.addr(), m.addr(), bytes as u64])), expected, "{a} {b}");
            let equal = a.bytes().zip(b.bytes()).take_while(|(x, y)| x == y).count() as u64;
            assert_eq!(call("RtlCompareMemory", &[n.addr(), m.addr(), bytes as u64]), equal, "{a} {b}");
        }
        assert_eq!(call("strlen", &[narrow(a).addr()]), a.len() as u64);
        assert_eq!(call("wcslen", &[wide(a).addr()]), a.len() as u64);
    }
}

#[test]
fn searches_find_the_place_or_null() {
    let text = "the cat sat on the mat";
    let (n, w) = (narrow(text), wide(text));
    let place =
        |found: Option<usize>, block: &UserBlock, width: u64| found.map_or(0, |at| block.addr() + at as u64 * width);
    for part in ["the", "cat", "mat", "t", "", "mats", "the m", "xyz"] {
        let found = text.find(part);
        assert_eq!(call("strstr", &[n.addr(), narrow(part).addr()]), place(found, &n, 1), "{part}");
        assert_eq!(call("wcsstr", &[w.addr(), wide(part).addr()]), place(found, &w, 2), "{part}");
    }
    for unit in ['t', 'm', 'z', ' '] {
        let wanted = unit as u64;
        assert_eq!(call("strchr", &[n.addr(), wanted]), place(text.find(unit), &n, 1), "{unit}");
        assert_eq!(call("wcschr", &[w.addr(), wanted]), place(text.find(unit), &w, 2), "{unit}");
        assert_eq!(call("strrchr", &[n.addr(), wanted]), place(text.rfind(unit), &n, 1), "{unit}");
        assert_eq!(call("wcsrchr", &[w.addr(), wanted]), place(text.rfind(unit), &w, 2), "{unit}");
    }
    assert_eq!(call("strchr", &[n.addr(), 0]), n.addr() + text.len() as u64, "the terminator is found too");
}

#[test]
fn wide_copies_stop_and_pad_as_c_does() {
    let to = UserBlock::pages(64).expect("arena");
    let units = |count: usize| -> Vec<u16> {
        let bytes = to.region().sub(0, 2 * count).to_vec().expect("mapped");
        bytes.chunks(2).map(|two| u16::from_le_bytes([two[0], two[1]])).collect()
    };
    to.region().fill(0xee).expect("mapped");
    assert_eq!(call("wcscpy", &[to.addr(), wide("ab").addr()]), to.addr());
    assert_eq!(units(4), [0x61, 0x62, 0, 0xeeee]);
    to.region().fill(0xee).expect("mapped");
    assert_eq!(call("wcsncpy", &[to.addr(), wide("ab").addr(), 4]), to.addr());
    assert_eq!(units(5), [0x61, 0x62, 0, 0, 0xeeee]);
    to.region().fill(0xee).expect("mapped");
    call("wcsncpy", &[to.addr(), wide("abc").addr(), 2]);
    assert_eq!(units(3), [0x61, 0x62, 0xeeee]);
    call("RtlZeroMemory", &[to.addr(), 3]);
    assert_eq!(to.region().sub(0, 4).to_vec().expect("mapped"), [0, 0, 0, 0]);
    call("memset", &[to.addr(), 0x1_41, 2]);
    assert_eq!(to.region().sub(0, 3).to_vec().expect("mapped"), [0x41, 0x41, 0]);
}

#[test]
fn a_bad_string_raises_an_access_violation_in_the_caller() {
    let text = narrow("abc");
    for name in ["_stricmp", "strstr", "_wcsicmp", "strchr"] {
        let raised = callout::call(code(name), &[0x10, text.addr()]).expect_err(name);
        assert_eq!(raised.status, NtStatus(0xc000_0005), "{name}");
    }
}
