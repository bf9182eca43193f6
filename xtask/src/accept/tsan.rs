//! tsan: the native tests in a build with ThreadSanitizer, the standard library included.
//!
//! Room: xtask. Called by: `accept`. Calls: cargo with `-Zsanitizer=thread -Zbuild-std`, which the pinned toolchain takes with
//! RUSTC_BOOTSTRAP=1 and component rust-src. The mount is not used. First a race on purpose (ntos/cell/tests/race.rs) must be
//! reported, so that a silent run means something. There are no suppressions.
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

const REPORT: &str = "WARNING: ThreadSanitizer";

fn act(_mount: &Mount) -> Result<String, String> {
    let root = crate::root();
    let target = std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| root.join("target").display().to_string());
    // Reports do not end a test: all of them are counted, and a test's own failure is told apart.
    let cargo = |rest: &str, seconds: u64| {
        let script = format!(
            "export CARGO_TARGET_DIR='{target}/tsan' CARGO_INCREMENTAL=0 RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=thread; \
             export TSAN_OPTIONS='halt_on_error=0 exitcode=0 report_signal_unsafe=0'; \
             cargo test -q --target x86_64-unknown-linux-gnu -Zbuild-std {rest} 2>&1"
        );
        super::shell(&root, &script, seconds)
    };
    let canary = cargo("-p nt_cell --test race -- --ignored", 900)?;
    if !canary.contains(REPORT) {
        return Err(format!("the race on purpose was not reported, so silence would mean nothing:\n{canary}"));
    }
    let packages: Vec<String> = CRATES.iter().map(|name| format!("-p {name}")).collect();
    let said = cargo(&format!("--no-fail-fast --lib --tests {}", packages.join(" ")), 1500)?;
    let reports = said.matches(REPORT).count();
    if reports != 0 {
        let at = said.find(REPORT).unwrap_or(0);
        let first: String = said[at..].chars().take(3000).collect();
        return Err(format!("{reports} report(s); the first:\n{first}"));
    }
    let passed: u64 = said
        .lines()
        .filter_map(|line| line.strip_prefix("test result: ok. ")?.split(' ').next()?.parse::<u64>().ok())
        .sum();
    Ok(format!("{passed} tests of {} crates, 0 reports; the race on purpose was reported", CRATES.len()))
}
