//! What supervisor and server say to each other: one JSON object a line, over a socket pair.
//!
//! Room: front/cli. Called by: `supervisor`, `server`. Calls: nothing. The server's side is untrusted once a driver runs: a
//! line that cannot be read is a failure of the server, never of the supervisor.

use crate::args::RegistryValue;
use nt_machine::{Report, VolumeSpec};
use serde::{Deserialize, Serialize};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

/// A longer line than this ends the conversation.
const LONGEST: u64 = 64 << 20;

/// How the machine is built.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Setup {
    #[serde(with = "volumes")]
    pub(crate) volumes: Vec<VolumeSpec>,
    pub(crate) filters: Vec<String>,
    /// Streaming devices.
    pub(crate) streams: Vec<String>,
    /// Where to mount `C:`; nothing is mounted without it.
    #[serde(with = "optional_path")]
    pub(crate) mount: Option<PathBuf>,
    /// Whether other users may use it.
    pub(crate) allow_other: bool,
    /// A driver to load and unload.
    #[serde(with = "optional_path")]
    pub(crate) load: Option<PathBuf>,
    #[serde(with = "optional_path")]
    pub(crate) trace: Option<PathBuf>,
    pub(crate) windows: String,
    pub(crate) completion: String,
    /// Empty leaves it to each volume.
    pub(crate) cache: String,
    #[serde(default)]
    pub(crate) tunnel: bool,
    #[serde(default)]
    pub(crate) read_only: bool,
    #[serde(default)]
    pub(crate) short_names: bool,
    pub(crate) allow_missing: bool,
    pub(crate) stubs: Vec<(String, u64)>,
    pub(crate) registry: Vec<RegistryValue>,
}

/// The supervisor's answer: a process's id and its program's name; nothing for a thread that is gone.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Who(pub(crate) Option<(u32, String)>);

/// What the server tells.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Event {
    /// The volume is mounted, the drivers run, the lock-down is on.
    Ready { lockdown: Vec<String> },
    /// A driver printed.
    Debug { driver: String, text: String },
    /// Which process is this thread of the host? The answer is a [`Who`].
    Who(u32),
    /// A line for people.
    Note(String),
    /// The machine could not be built.
    Failed { code: u8, message: String },
    /// The end: the machine is shut down.
    Report(Box<Report>),
}

/// Writes a message.
pub(crate) fn send<T: Serialize>(to: &mut UnixStream, message: &T) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    to.write_all(&line)
}

/// Reads messages.
pub(crate) struct Incoming {
    from: BufReader<UnixStream>,
}

impl Incoming {
    pub(crate) fn new(from: UnixStream) -> Self {
        Self { from: BufReader::new(from) }
    }
    /// Reads the next message; `None` when the other side is gone.
    pub(crate) fn next<T: for<'a> Deserialize<'a>>(&mut self) -> std::io::Result<Option<T>> {
        let mut line = Vec::new();
        self.from.by_ref().take(LONGEST).read_until(b'\n', &mut line)?;
        if line.last() != Some(&b'\n') {
            return Ok(None);
        }
        serde_json::from_slice(&line).map(Some).map_err(std::io::Error::from)
    }
}

/// Paths of the host are bytes, and need not be UTF-8.
pub(crate) mod path {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::ffi::OsString;
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    use std::path::{Path, PathBuf};

    pub(crate) fn serialize<S: Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
        path.as_os_str().as_bytes().serialize(to)
    }
    pub(crate) fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<PathBuf, D::Error> {
        Vec::deserialize(from).map(|bytes| OsString::from_vec(bytes).into())
    }
}

mod optional_path {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::path::PathBuf;

    #[derive(Serialize, Deserialize)]
    struct Wrapped(#[serde(with = "super::path")] PathBuf);

    #[expect(clippy::ref_option, reason = "the form that serde asks for")]
    pub(super) fn serialize<S: Serializer>(path: &Option<PathBuf>, to: S) -> Result<S::Ok, S::Error> {
        path.clone().map(Wrapped).serialize(to)
    }
    pub(super) fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<Option<PathBuf>, D::Error> {
        Ok(Option::<Wrapped>::deserialize(from)?.map(|path| path.0))
    }
}

mod volumes {
    use nt_machine::VolumeSpec;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::path::PathBuf;

    #[derive(Serialize, Deserialize)]
    #[serde(remote = "VolumeSpec")]
    enum Each {
        Ram {
            size: Option<u64>,
        },
        Dir {
            #[serde(with = "super::path")]
            path: PathBuf,
        },
    }

    #[derive(Serialize, Deserialize)]
    struct Wrapped(#[serde(with = "Each")] VolumeSpec);

    pub(super) fn serialize<S: Serializer>(volumes: &[VolumeSpec], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(volumes.iter().cloned().map(Wrapped))
    }
    pub(super) fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<Vec<VolumeSpec>, D::Error> {
        Ok(Vec::<Wrapped>::deserialize(from)?.into_iter().map(|volume| volume.0).collect())
    }
}
