//! One path of `ntio bench io` for a profiler: `hot fast|irp|DIRECTORY [SECONDS]`.
fn main() -> Result<(), String> {
    let mut words = std::env::args().skip(1);
    let way = words.next().unwrap_or_else(|| "fast".to_owned());
    let seconds = words.next().and_then(|word| word.parse().ok()).unwrap_or(3);
    let directory = (way != "fast" && way != "irp").then(|| way.clone().into());
    nt_bench::hot(way == "irp", directory, seconds)
}
