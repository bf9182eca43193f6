//! fio: what was written is read back with checksums, by three engines, block sizes from 4 KiB to 1 MiB, with and without O_DIRECT.
//!
//! Room: xtask. Called by: `accept`.

use super::{Mount, Run, shell};
use serde_json::Value;

pub(super) const RUN: Run = Run {
    name: "fio",
    shows: "--verify=crc32c with psync, libaio and mmap, 4 KiB to 1 MiB, buffered and O_DIRECT, random writes",
    needs: &[("fio", "fio")],
    options: &[],
    act,
};

fn act(mount: &Mount) -> Result<String, String> {
    let (mut runs, mut figures) = (0, Vec::new());
    for engine in ["psync", "libaio", "mmap"] {
        for direct in [0, 1] {
            if engine == "mmap" && direct == 1 {
                continue; // fio refuses it
            }
            for block in ["4k", "64k", "1m"] {
                let depth = if engine == "libaio" { 16 } else { 1 };
                let size = if block == "4k" { "64m" } else { "256m" };
                let script = format!(
                    "fio --name=t --filename=f --size={size} --bs={block} --rw=randwrite --ioengine={engine} --direct={direct} \
                     --iodepth={depth} --verify=crc32c --verify_fatal=1 --do_verify=1 --end_fsync=1 --randrepeat=1 \
                     --output-format=json; rm -f f"
                );
                let place = format!("{engine} {block} direct={direct}");
                let said = shell(&mount.at, &script, 300).map_err(|why| format!("{place}: {why}"))?;
                let said = &said[said.find('{').unwrap_or(0)..];
                let report: Value = serde_json::from_str(said).map_err(|error| format!("{place}: {error}"))?;
                let job = &report["jobs"][0];
                if job["error"].as_i64() != Some(0)
                    || job["read"]["io_bytes"].as_u64() < job["write"]["io_bytes"].as_u64()
                {
                    return Err(format!("{place}: error {}, not all was verified", job["error"]));
                }
                runs += 1;
                if engine == "psync" {
                    let rate = job["write"]["bw_bytes"].as_f64().unwrap_or(0.0) / 1e6;
                    figures.push(format!("{block}{} {rate:.0}", if direct == 1 { " direct" } else { "" }));
                }
            }
        }
    }
    Ok(format!("{runs} jobs verified; psync MB/s: {}", figures.join(", ")))
}
