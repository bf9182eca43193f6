//! One path of `ntio bench io` for a profiler: `hot fast|irp|event|port|DIRECTORY [SECONDS [BYTES]]`.
use nt_bench::Told;

fn main() -> Result<(), String> {
    let mut words = std::env::args().skip(1);
    let way = words.next().unwrap_or_else(|| "fast".to_owned());
    let seconds = words.next().and_then(|word| word.parse().ok()).unwrap_or(3);
    let bytes = words.next().and_then(|word| word.parse().ok()).unwrap_or(64);
    let (packet, told, directory) = match way.as_str() {
        "fast" => (false, Told::Block, None),
        "irp" => (true, Told::Block, None),
        "event" => (true, Told::Event, None),
        "port" => (true, Told::Port, None),
        directory => (false, Told::Block, Some(directory.into())),
    };
    nt_bench::hot(packet, told, bytes, directory, seconds)
}
