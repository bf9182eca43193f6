//! Prints the figures of `ntio bench fuse`: `rows [ROUNDS]`.
#![expect(clippy::print_stdout, reason = "an example prints")]
fn main() -> Result<(), String> {
    let rounds = std::env::args().nth(1).and_then(|word| word.parse().ok()).unwrap_or(10);
    for figure in ntio_fuse::bench::run(rounds)? {
        println!(
            "{:<20}{:>8} B {:>9.0} ns   bare server {:>9.0} ns  x{:.2}",
            figure.name,
            figure.bytes,
            figure.ns,
            figure.limit_ns,
            figure.ns / figure.limit_ns
        );
    }
    Ok(())
}
