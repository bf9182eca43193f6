//! What the loader's tests share: fixtures, a table of imports, one call.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use nt_cell::{CodePtr, Raised, callout};
use nt_ldr::{Binder, Ending, Image, Options};
use std::path::PathBuf;

pub fn fixture(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/drivers").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub fn load(name: &str) -> Image {
    nt_ldr::set_ending(Ending::Err);
    let image = Image::load(name, &fixture(name), &Binder::new(&[super::EXPORTS]), &Options::default())
        .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(callout::call(image.entry(), &[0, 0]), Ok(0), "DriverEntry");
    image
}

pub fn routine(image: &Image, name: &str) -> CodePtr {
    image.export(name).unwrap_or_else(|| panic!("{name} is exported"))
}

pub fn call(image: &Image, name: &str, args: &[u64]) -> Result<u64, Raised> {
    callout::call(routine(image, name), args)
}
