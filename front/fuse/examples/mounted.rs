//! A mounted `ram` volume with nobody listening, for a profiler: `mounted DIRECTORY`, until it is unmounted.
use nt_machine::{Machine, VolumeSpec};
use std::path::PathBuf;
use std::sync::Arc;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let at: PathBuf = std::env::args_os().nth(1).ok_or("give an empty directory")?.into();
    let machine = Machine::builder().volume(VolumeSpec::Ram { size: Some(256 << 20) }).build();
    let machine = Arc::new(machine.map_err(|error| error.status().to_string())?);
    ntio_fuse::mount(&machine, 0, &at)?.serve()?;
    Ok(())
}
