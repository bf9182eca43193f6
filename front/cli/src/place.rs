//! The directories of a mount: where the volume goes, whether it can, and what of a folder it does not show.
//!
//! Room: front/cli. Called by: `supervisor`, before anything is mounted. Calls: the host, `keeper` for its table of mounts.

use crate::keeper;
use crate::verdict::{Failure, say};
use nt_machine::VolumeSpec;
use std::path::{Path, PathBuf};

/// The directory that a run is mounted in. It is removed at the end only if it is empty: never what a volume has.
pub(crate) struct Place(pub(crate) PathBuf);

impl Place {
    pub(crate) fn new() -> Result<Self, Failure> {
        let made = tempfile::Builder::new().prefix("ntio-").tempdir();
        let made = made.map_err(|error| {
            let remedy = "name a directory that can be written in TMPDIR";
            Failure::broken(format!("no directory to mount in: {error}; {remedy}"))
        })?;
        Ok(Self(keeper::resolved(&made.keep())))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _stays = std::fs::remove_dir(&self.0);
    }
}

/// Whether a volume can be mounted there: what a directory has would be hidden, and what is mounted there too.
pub(crate) fn fit(at: &Path) -> Result<(), Failure> {
    let refused = |why: String| Failure::broken(format!("cannot mount at {}: {why}", at.display()));
    let there = keeper::mounts(at);
    if let Some(kind) = there.last() {
        let remedy = if kind.starts_with("fuse") {
            "unmount that first (fusermount3 -u), or give another directory"
        } else {
            "give an empty directory in it"
        };
        return Err(refused(format!("something is mounted there already ({kind}); {remedy}")));
    }
    match std::fs::read_dir(at).map(|mut entries| entries.next().is_some()) {
        Ok(true) => {
            Err(refused("the directory is not empty, and what it has would be hidden; give an empty directory".into()))
        }
        // What else is wrong with it, the mount itself says.
        _ => Ok(()),
    }
}

/// Whether every `dir` volume stays reachable: a mount over its folder, or over one that the folder lies in, would make the
/// server wait for itself. Folders are compared by what they are, because a folder can have two paths (a bind mount).
pub(crate) fn covers_no_volume(at: &Path, volumes: &[VolumeSpec]) -> Result<(), Failure> {
    use std::os::unix::fs::MetadataExt;
    let identity = |path: &Path| std::fs::metadata(path).map(|there| (there.dev(), there.ino())).ok();
    // What is not there, or cannot be reached, is refused for that.
    let Some(covered) = identity(at) else { return Ok(()) };
    for volume in volumes {
        let VolumeSpec::Dir { path } = volume else { continue };
        if keeper::resolved(path).ancestors().any(|folder| identity(folder) == Some(covered)) {
            let (at, path) = (at.display(), path.display());
            return Err(Failure::broken(format!(
                "cannot mount at {at}: the volume 'dir:{path}' lies there, and the mount would cover it; \
                 give an empty directory elsewhere, or one below the volume's folder"
            )));
        }
    }
    Ok(())
}

/// A `dir` volume does not cross into other file systems of the host: what is mounted below its folder is not in it.
pub(crate) fn tell_of_mounts_below(folder: &Path) {
    const FIRST: usize = 3;
    let below = keeper::mounts_below(&keeper::resolved(folder));
    if below.is_empty() {
        return;
    }
    let names: Vec<String> = below.iter().take(FIRST).map(|at| at.display().to_string()).collect();
    let more = match below.len().saturating_sub(FIRST) {
        0 => String::new(),
        count => format!(" and {count} more"),
    };
    let remedy = "give such a folder a volume of its own";
    say(&format!(
        "ntio: volume 'dir:{}': what is mounted below it is not shown: {}{more}; {remedy}",
        folder.display(),
        names.join(", ")
    ));
}
