//! What volumes and filters a machine is asked for, in the words of the command line.
//!
//! Room: machine. Called by: front ends. Calls: nothing. Source: docs of the command line, "Specs".
//! A refusal names the thing and says what to do.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::str::FromStr;

/// A volume that a machine is built with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VolumeSpec {
    /// `ram` or `ram:SIZE`: files live in memory.
    Ram {
        /// Bytes of data that fit; `None` for the default.
        size: Option<u64>,
    },
    /// `dir:PATH`: a directory of the host is the volume's content.
    Dir {
        /// The directory.
        path: PathBuf,
    },
}

impl VolumeSpec {
    /// Reads a word of the command line; the path of `dir:PATH` is bytes of the host, and need not be UTF-8.
    pub fn from_os(text: &OsStr) -> Result<Self, SpecError> {
        match (text.to_str(), text.as_bytes().strip_prefix(b"dir:")) {
            (None, Some(path)) => Ok(Self::Dir { path: PathBuf::from(OsStr::from_bytes(path)) }),
            _ => text.to_string_lossy().parse(),
        }
    }

    /// Finds out whether the volume can be made; the refusal names the directory and the remedy.
    pub fn check(&self) -> Result<(), SpecError> {
        let Self::Dir { path } = self else { return Ok(()) };
        let name = path.display();
        std::fs::read_dir(path).map(drop).map_err(|error| {
            SpecError(format!("volume 'dir:{name}': {error}; give a directory that is there and can be read"))
        })?;
        let own = nt_memfs::OWN_FOLDER;
        match std::fs::symlink_metadata(path.join(own)) {
            Ok(found) if !found.is_dir() => Err(SpecError(format!(
                "volume 'dir:{name}': {own} in it is no directory, and ntio keeps named streams in one of that name; \
                 move it away, or give another directory"
            ))),
            _ => Ok(()),
        }
    }
}

/// A streaming device that a machine is built with: `\\Device\\NtioKs\\NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KsSpec {
    /// `null`: counts what it takes and gives zeros.
    Null,
    /// `rawsink:PATH`: appends what it takes to a host file.
    RawSink {
        /// The host file; made if absent.
        path: PathBuf,
    },
}

impl KsSpec {
    /// Returns the device's name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::RawSink { .. } => "rawsink",
        }
    }

    /// Finds out whether the device can be made; the refusal names the file and the remedy.
    pub fn check(&self) -> Result<(), SpecError> {
        let Self::RawSink { path } = self else { return Ok(()) };
        let tried = std::fs::File::options().append(true).create(true).open(path);
        tried.map(drop).map_err(|error| {
            let path = path.display();
            SpecError(format!("streaming device 'rawsink:{path}': {error}; give a file that can be written"))
        })
    }
}

impl FromStr for KsSpec {
    type Err = SpecError;
    fn from_str(text: &str) -> Result<Self, SpecError> {
        match text.split_once(':') {
            None if text == "null" => Ok(Self::Null),
            Some(("rawsink", path)) if !path.is_empty() => Ok(Self::RawSink { path: PathBuf::from(path) }),
            _ if text == "rawsink" || text == "rawsink:" => Err(SpecError(
                "streaming device 'rawsink' needs a file to write to; for instance rawsink:out.raw".to_owned(),
            )),
            _ => Err(SpecError(format!("there is no streaming device '{text}'; built in: null, rawsink:PATH"))),
        }
    }
}

/// A filter that a machine is built with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterSpec {
    /// What it is.
    pub kind: FilterKind,
    /// `@ALTITUDE`, if given.
    pub altitude: Option<String>,
}

/// Where a filter comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FilterKind {
    /// One of ours.
    BuiltIn(String),
    /// A driver image.
    Image(PathBuf),
}

/// The filters that ntio brings along.
pub const BUILT_IN: &[&str] = &["spy"];

/// The least that a file takes on a volume.
const CLUSTER: u64 = 4096;

/// A spec that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecError(String);

impl std::fmt::Display for SpecError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}
impl std::error::Error for SpecError {}

/// Reads a size: digits with K, M or G, powers of 1024.
pub fn parse_size(text: &str) -> Result<u64, SpecError> {
    let (digits, unit) = match text.char_indices().next_back() {
        Some((at, 'K' | 'k')) => (&text[..at], 1 << 10),
        Some((at, 'M' | 'm')) => (&text[..at], 1 << 20),
        Some((at, 'G' | 'g')) => (&text[..at], 1 << 30),
        _ => (text, 1),
    };
    let size = digits.parse::<u64>().ok().and_then(|count| count.checked_mul(unit)).filter(|&size| size != 0);
    size.ok_or_else(|| SpecError(format!("'{text}' is not a size; write digits with K, M or G, for instance 512M")))
}

impl FromStr for VolumeSpec {
    type Err = SpecError;
    fn from_str(text: &str) -> Result<Self, SpecError> {
        match text.split_once(':') {
            None if text == "ram" => Ok(Self::Ram { size: None }),
            Some(("ram", text)) => match parse_size(text)? {
                size if size < CLUSTER => Err(SpecError(format!(
                    "a volume of '{text}' bytes has no room for one cluster; give at least 4K, for instance ram:512M"
                ))),
                size => Ok(Self::Ram { size: Some(size) }),
            },
            Some(("dir", path)) if !path.is_empty() => Ok(Self::Dir { path: PathBuf::from(path) }),
            _ if text == "dir" || text == "dir:" => {
                Err(SpecError("volume 'dir' needs a directory; for instance dir:/srv/data".to_owned()))
            }
            _ => Err(SpecError(format!(
                "'{text}' is no volume; use 'ram', 'ram:SIZE' or 'dir:PATH', for instance ram:512M"
            ))),
        }
    }
}

/// An altitude is a decimal number with an optional fraction.
fn is_altitude(text: &str) -> bool {
    let number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    match text.split_once('.') {
        None => number(text),
        Some((whole, fraction)) => number(whole) && number(fraction),
    }
}

impl FromStr for FilterSpec {
    type Err = SpecError;
    fn from_str(text: &str) -> Result<Self, SpecError> {
        // A path may hold an '@': what follows the last one is an altitude only where no separator or ending follows.
        let (name, altitude) = match text.rsplit_once('@') {
            Some((name, altitude)) if !altitude.contains('/') => (name, Some(altitude)),
            _ => (text, None),
        };
        if let Some(altitude) = altitude.filter(|altitude| !is_altitude(altitude)) {
            return Err(SpecError(format!(
                "'{altitude}' in filter '{text}' is no altitude; write a decimal number, for instance @385100"
            )));
        }
        let kind = if BUILT_IN.contains(&name) {
            FilterKind::BuiltIn(name.to_owned())
        } else if name.to_ascii_lowercase().ends_with(".sys") || name.contains('/') {
            FilterKind::Image(PathBuf::from(name))
        } else {
            return Err(SpecError(format!(
                "there is no filter '{name}'; built in: {}; or give the path of a driver image, for instance ./{name}.sys",
                BUILT_IN.join(", ")
            )));
        };
        Ok(Self { kind, altitude: altitude.map(str::to_owned) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_1024() {
        assert_eq!(parse_size("512M"), Ok(512 << 20));
        assert_eq!(parse_size("3"), Ok(3));
        for bad in ["", "M", "12X", "0", "99999999999G", "-1"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn volumes_are_read_or_refused_by_name() {
        assert_eq!("ram".parse(), Ok(VolumeSpec::Ram { size: None }));
        assert_eq!("ram:1G".parse(), Ok(VolumeSpec::Ram { size: Some(1 << 30) }));
        assert_eq!("ram:4K".parse(), Ok(VolumeSpec::Ram { size: Some(4096) }));
        assert!("ram:4095".parse::<VolumeSpec>().expect_err("no cluster").to_string().contains("at least 4K"));
        assert_eq!("dir:/a:b".parse(), Ok(VolumeSpec::Dir { path: "/a:b".into() }));
        let latin = VolumeSpec::from_os(OsStr::from_bytes(b"dir:/caf\xE9"));
        assert_eq!(latin, Ok(VolumeSpec::Dir { path: OsStr::from_bytes(b"/caf\xE9").into() }));
        assert!(VolumeSpec::from_os(OsStr::from_bytes(b"ram:\xE9")).is_err());
        assert!("dir:".parse::<VolumeSpec>().expect_err("no path").to_string().contains("dir:/srv/data"));
        let absent = VolumeSpec::Dir { path: "/no/such/directory".into() };
        assert!(absent.check().expect_err("absent").to_string().contains("dir:/no/such/directory"));
        let folder = tempfile::tempdir().expect("a folder");
        let taken = VolumeSpec::Dir { path: folder.path().to_owned() };
        assert_eq!(taken.check(), Ok(()));
        std::fs::write(folder.path().join(nt_memfs::OWN_FOLDER), "").expect("a file");
        assert!(taken.check().expect_err("no place for streams").to_string().contains(".ntio in it is no directory"));
        assert!("disk".parse::<VolumeSpec>().expect_err("unknown").to_string().contains("'disk'"));
    }

    #[test]
    fn streaming_devices_are_read_or_refused_by_name() {
        assert_eq!("null".parse(), Ok(KsSpec::Null));
        assert_eq!("rawsink:a:b".parse(), Ok(KsSpec::RawSink { path: "a:b".into() }));
        assert!("rawsink:".parse::<KsSpec>().expect_err("no path").to_string().contains("rawsink:out.raw"));
        assert!("speaker".parse::<KsSpec>().expect_err("unknown").to_string().contains("'speaker'"));
    }

    #[test]
    fn filters_take_an_altitude() {
        let spy: FilterSpec = "spy@12345.5".parse().expect("built in");
        assert_eq!(spy.altitude.as_deref(), Some("12345.5"));
        let image: FilterSpec = "a@b/x.sys".parse().expect("a path");
        assert_eq!(image.kind, FilterKind::Image("a@b/x.sys".into()));
        assert!("nosuch".parse::<FilterSpec>().expect_err("unknown").to_string().contains("spy"));
        assert!("spy@high".parse::<FilterSpec>().is_err());
    }
}
