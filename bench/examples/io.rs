//! Prints the figures of `ntio bench io`.
#![expect(clippy::print_stdout, reason = "an example prints")]
fn main() -> Result<(), String> {
    for row in nt_bench::io(nt_bench::Effort::FULL)? {
        println!(
            "{:<24}{:>8} B {:>9.1} ns   {:<22}{:>9.1} ns  x{:.2}",
            row.name, row.bytes, row.ns, row.limit, row.limit_ns, row.ratio
        );
    }
    Ok(())
}
