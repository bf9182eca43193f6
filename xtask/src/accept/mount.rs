//! A mount for a run: `ntio mount` of a fresh volume, unmounted at the end, its report read.
//!
//! Room: xtask. Called by: `accept`. Calls: the release build of `ntio`.

use super::{Place, Run};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A mounted volume.
pub(crate) struct Mount {
    /// `ram` or `dir`.
    pub(crate) volume: String,
    /// Where it is mounted.
    pub(crate) at: PathBuf,
    /// A scratch folder of the host for what a run needs besides.
    pub(crate) scratch: PathBuf,
    /// The host's folder behind a `dir` volume.
    pub(crate) behind: Option<PathBuf>,
    /// The cache policy that was asked for; empty: none was.
    pub(crate) cache: String,
}

/// The `ntio` to try.
pub(crate) fn program() -> PathBuf {
    super::other_binary().unwrap_or_else(|| {
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| crate::root().join("target"), PathBuf::from);
        target.join("release/ntio")
    })
}

/// Does a run in a mount; a finding of the machine fails it too.
pub(super) fn with(run: &Run, place: &Place) -> Result<String, String> {
    let base = std::env::temp_dir().join(format!("ntio-accept-{}-{}", run.name, std::process::id()));
    let (at, scratch, content) = (base.join("mount"), base.join("scratch"), base.join("content"));
    for folder in [&at, &scratch, &content] {
        std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    let (volume, behind) = match place.volume.as_str() {
        "ram" => ("ram:8G".to_owned(), None),
        "dir" => (format!("dir:{}", content.display()), Some(content)),
        other => return Err(format!("there is no volume '{other}' here; it is ram or dir")),
    };
    let mut words = vec!["-v".to_owned(), volume];
    if !place.cache.is_empty() {
        words.extend(["--cache".to_owned(), place.cache.clone()]);
    }
    words.extend(run.options.iter().map(|&word| word.to_owned()));
    let mount = Mount { volume: place.volume.clone(), at, scratch, behind, cache: place.cache.clone() };
    let report = base.join("report.json");
    let mut server = start(&mount.at, &words, &report)?;
    let result = (run.act)(&mount);
    let ended = stop(&mut server, &mount.at);
    let found = ended.and_then(|()| findings(&report));
    let _gone = std::fs::remove_dir_all(&base);
    match (result, found) {
        (Ok(figures), Ok(())) => Ok(figures),
        (Err(why), Ok(())) | (Ok(_), Err(why)) => Err(why),
        (Err(why), Err(also)) => Err(format!("{why}\nand: {also}")),
    }
}

fn start(at: &Path, words: &[String], report: &Path) -> Result<Child, String> {
    let program = program();
    let before = device(at)?;
    let mut server = Command::new(&program)
        .arg("mount")
        .arg(at)
        .args(words)
        .args(["--report", "json", "--report-file"])
        .arg(report)
        .stdin(Stdio::null())
        .spawn()
        .map_err(|error| format!("{}: {error}", program.display()))?;
    let end = Instant::now() + Duration::from_secs(60);
    while device(at)? == before {
        if let Ok(Some(status)) = server.try_wait() {
            return Err(format!("ntio mount {}: {status}", words.join(" ")));
        }
        if Instant::now() >= end {
            let _ended = server.kill();
            return Err("the volume was not mounted within 60 s".into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(server)
}

fn device(at: &Path) -> Result<u64, String> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(at).map(|meta| meta.dev()).map_err(|error| format!("{}: {error}", at.display()))
}

fn stop(server: &mut Child, at: &Path) -> Result<(), String> {
    let end = Instant::now() + Duration::from_secs(120);
    let mut busy = true;
    loop {
        for (program, words) in [("umount", &[][..]), ("fusermount3", &["-u"][..])] {
            if busy {
                let done = Command::new(program).args(words).arg(at).stderr(Stdio::null()).status();
                busy = !done.is_ok_and(|status| status.success());
            }
        }
        match server.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => return Err(format!("ntio mount ended with {status}")),
            Ok(None) => {}
            Err(error) => return Err(error.to_string()),
        }
        if Instant::now() >= end {
            let _ended = server.kill();
            let _gone = Command::new("umount").arg("-l").arg(at).status();
            return Err("the mount did not end within 120 s".into());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn findings(report: &Path) -> Result<(), String> {
    let text = std::fs::read_to_string(report).map_err(|error| format!("the machine left no report: {error}"))?;
    let report: Value = serde_json::from_str(&text).map_err(|error| format!("the report: {error}"))?;
    let bad: Vec<String> = report["findings"]
        .as_array()
        .map_or(&[][..], Vec::as_slice)
        .iter()
        .filter(|finding| matches!(finding["severity"].as_str(), Some("violation" | "error")))
        .map(|finding| format!("{} {}", finding["rule"], finding["message"]))
        .collect();
    if bad.is_empty() { Ok(()) } else { Err(format!("the machine found: {}", bad.join("; "))) }
}
