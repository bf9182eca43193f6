//! tsan: the native tests in a build with ThreadSanitizer, the standard library included.
//!
//! Room: xtask. Called by: `accept`. Calls: cargo with `-Zsanitizer=thread -Zbuild-std`, which the pinned toolchain takes with
//! RUSTC_BOOTSTRAP=1 and component rust-src. The mount is not used. First a race on purpose (ntos/cell/tests/race.rs) must be
//! reported, so that a silent run means something. There are no suppressions. `cfg(ntio_tsan)` puts an intrinsic that it sees in
//! the place of assembler that orders threads (`Foreign::cas128`).
//!
//! What it cannot see: guarded copies are assembler, and drivers are not instrumented; both touch memory that Rust reaches by
//! atomics and guarded copies only (S-2), where a race changes a value and is no undefined behaviour.

use super::{Mount, Run};

pub(super) const RUN: Run = Run {
    name: "tsan",
    shows: "the native tests of every room, driver and the machine under ThreadSanitizer, std included: no report, after a race on purpose was reported",
    needs: &[("rustup", "rustup")],
    options: &[],
    act,
};

/// The crates whose tests run. Not nt_ldr: its tests end processes by a fault, which the sanitizer reports in its own way; and not
/// the doors: they start programs of the host, which are not instrumented.
const CRATES: &[&str] = &[
    "nt_cell",
    "nt_ke",
    "nt_ex",
    "nt_ob",
    "nt_ps",
    "nt_mm",
    "nt_rtl",
    "nt_io",
    "nt_se",
    "nt_fsrtl",
    "nt_cc",
    "nt_fltmgr",
    "nt_ks",
    "nt_memfs",
    "nt_machine",
    "ntio",
    "ntio_conformance",
];

/// What the sanitizer's own memory spoils: the measure of what a file takes.
const SKIPPED: &str = "a_file_and_an_open_of_it_take_less_than_a_kibibyte_each";

const REPORT: &str = "WARNING: ThreadSanitizer";
/// What the shell says after a failed cargo, so that the reports are told first.
const FAILED: &str = "cargo failed";

fn act(_mount: &Mount) -> Result<String, String> {
    let root = crate::root();
    let target = std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| root.join("target").display().to_string());
    // Reports do not end a test: all of them are counted, and a test's own failure is told apart. A thread that nobody joins is
    // no race: a test forgets a future on purpose, and what serves it with it.
    let cargo = |rest: &str, seconds: u64| {
        let script = format!(
            "export CARGO_TARGET_DIR='{target}/tsan' CARGO_INCREMENTAL=0 RUSTC_BOOTSTRAP=1 RUSTFLAGS='-Zsanitizer=thread --cfg=ntio_tsan'; \
             export TSAN_OPTIONS='halt_on_error=0 exitcode=0 report_signal_unsafe=0 report_thread_leaks=0'; \
             exec 2>&1; cargo test -q --target x86_64-unknown-linux-gnu -Zbuild-std {rest}"
        );
        super::shell(&root, &script, seconds)
    };
    let canary = cargo("-p nt_cell --test race -- --ignored", 600)?;
    if !canary.contains(REPORT) {
        return Err(format!("the race on purpose was not reported, so silence would mean nothing:\n{canary}"));
    }
    let packages: Vec<String> = CRATES.iter().map(|name| format!("-p {name}")).collect();
    let tests = format!("--no-fail-fast --lib --tests {} -- --skip {SKIPPED}", packages.join(" "));
    let said = cargo(&format!("{tests} || echo {FAILED}"), 1100)?;
    let reports = said.matches(REPORT).count();
    if reports != 0 {
        let at = said.find(REPORT).unwrap_or(0);
        let first: String = said[at..].chars().take(3000).collect();
        return Err(format!("{reports} report(s); the first:\n{first}"));
    }
    if said.contains(FAILED) {
        let told = said
            .lines()
            .filter(|line| line.contains("panicked at") || line.contains("FAILED") || line.contains("`-p "));
        return Err(told.take(40).collect::<Vec<_>>().join("\n"));
    }
    let passed: u64 = said
        .lines()
        .filter_map(|line| line.strip_prefix("test result: ok. ")?.split(' ').next()?.parse::<u64>().ok())
        .sum();
    Ok(format!("{passed} tests of {} crates, 0 reports; the race on purpose was reported", CRATES.len()))
}
