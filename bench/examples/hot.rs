//! One path of `ntio bench io` for a profiler: `hot fast|irp [SECONDS]`.
fn main() -> Result<(), String> {
    let mut words = std::env::args().skip(1);
    let packet = words.next().is_some_and(|word| word == "irp");
    let seconds = words.next().and_then(|word| word.parse().ok()).unwrap_or(3);
    nt_bench::hot(packet, seconds)
}
