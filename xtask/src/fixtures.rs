//! `cargo xtask fixtures [--check]`: builds the fixture drivers in tests/drivers from C, byte for byte reproducible.
//!
//! Room: xtask. Source: design of the loader, section 1 (toolchain for C drivers): clang, llvm-dlltool and lld-link of version 19.
//! `--check` builds into a temporary folder and compares with the committed images; a check that finds no tools says so and fails,
//! unless `--if-tools` is given too.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const TOOLS: [&str; 3] = ["clang-19", "llvm-dlltool-19", "lld-link-19"];

/// The modules whose exports drivers import: the name of the `.def` file.
const MODULES: [&str; 4] = ["ntoskrnl", "fltmgr", "ks", "hal"];

/// A `.def` that only `t_missing` is linked with, so that it can import what nobody has.
const MISSING: &str = "missing";

/// `-O0 -fasync-exceptions` because optimised clang loses scopes of `__try`; the rest as kernel code wants it.
/// `-ffreestanding` would drop the unwind data of functions that cannot throw, so it is asked for.
const CFLAGS: [&str; 16] = [
    "--target=x86_64-pc-windows-msvc",
    "-std=c11",
    "-ffreestanding",
    "-nostdinc",
    "-fno-builtin",
    "-mno-red-zone",
    "-fms-extensions",
    "-O0",
    "-fasync-exceptions",
    "-fasynchronous-unwind-tables",
    "-Xclang",
    "-fno-elide-constructors",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-c",
];

const LINK: [&str; 8] = [
    "/driver",
    "/subsystem:native",
    "/entry:DriverEntry",
    "/nodefaultlib",
    "/machine:x64",
    "/Brepro",
    "/debug:symtab",
    "/nologo",
];

/// Builds or checks the fixtures; the arguments are those after `fixtures`.
///
/// # Errors
/// A line that says which tool or file is wrong.
pub fn run(args: &[String]) -> Result<(), String> {
    let root = crate::root();
    let (mut check, mut lenient) = (false, false);
    for arg in args {
        match arg.as_str() {
            "--check" => check = true,
            "--if-tools" => lenient = true,
            other => return Err(format!("fixtures: unknown option {other}; known are --check and --if-tools")),
        }
    }
    if let Some(missing) = TOOLS.iter().find(|tool| Command::new(tool).arg("--version").output().is_err()) {
        let text = format!("fixtures: {missing} not found (Debian: apt-get install clang-19 lld-19 llvm-19)");
        if lenient {
            crate::say(&format!("{text}; nothing checked"));
            return Ok(());
        }
        return Err(text);
    }
    let scratch = std::env::temp_dir().join(format!("ntio-fixtures-{}", std::process::id()));
    fs::create_dir_all(&scratch).map_err(|e| format!("{}: {e}", scratch.display()))?;
    let result = build_all(&root, &scratch, check);
    // A folder that stays behind in /tmp is no failure of the fixtures.
    let _ = fs::remove_dir_all(&scratch);
    result
}

fn build_all(root: &Path, scratch: &Path, check: bool) -> Result<(), String> {
    for module in MODULES.into_iter().chain([MISSING]) {
        import_library(root, scratch, module)?;
    }
    layouts(root, scratch)?;
    let mut differ = Vec::new();
    let drivers = sources(&root.join("tests/drivers"))?;
    for source in &drivers {
        let image = build(root, scratch, source)?;
        let committed = source.with_extension("sys");
        let fresh = fs::read(&image).map_err(|e| format!("{}: {e}", image.display()))?;
        if check {
            if fs::read(&committed).ok().as_deref() != Some(&fresh[..]) {
                differ.push(committed.file_name().unwrap_or(OsStr::new("?")).to_string_lossy().into_owned());
            }
        } else {
            fs::write(&committed, &fresh).map_err(|e| format!("{}: {e}", committed.display()))?;
            let name = committed.strip_prefix(root).unwrap_or(&committed);
            crate::say(&format!("{}: {} bytes", name.display(), fresh.len()));
        }
    }
    if !differ.is_empty() {
        return Err(format!(
            "fixtures: not what their sources build: {} (run `cargo xtask fixtures`)",
            differ.join(", ")
        ));
    }
    if check {
        crate::say(&format!("fixtures: {} images equal their sources", drivers.len()));
    }
    Ok(())
}

fn sources(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let mut list: Vec<PathBuf> =
        entries.filter_map(|e| Some(e.ok()?.path())).filter(|p| p.extension().is_some_and(|x| x == "c")).collect();
    list.sort();
    Ok(list)
}

fn import_library(root: &Path, scratch: &Path, module: &str) -> Result<(), String> {
    let def = root.join("ddk/exports").join(format!("{module}.def"));
    let mut tool = Command::new("llvm-dlltool-19");
    tool.args(["-m", "i386:x86-64", "-d"]).arg(def).arg("-l").arg(scratch.join(format!("{module}.lib")));
    finish(tool)
}

/// The structures of our headers have the offsets of the layout tables: compiled, not linked.
fn layouts(root: &Path, scratch: &Path) -> Result<(), String> {
    let mut clang = Command::new("clang-19");
    clang.current_dir(root).args(CFLAGS).args(["-Iddk/include", "-o"]).arg(scratch.join("layouts.obj"));
    clang.arg("ddk/test/layouts.c");
    finish(clang)
}

/// Compiles and links one driver. Both tools see paths relative to the workspace only.
fn build(root: &Path, scratch: &Path, source: &Path) -> Result<PathBuf, String> {
    let name = source.file_stem().and_then(OsStr::to_str).ok_or("fixtures: a source without a name")?;
    let object = scratch.join(format!("{name}.obj"));
    let mut clang = Command::new("clang-19");
    clang.current_dir(root).args(CFLAGS).args(["-Iddk/include", "-Itests/drivers", "-o"]).arg(&object);
    clang.arg(format!("tests/drivers/{name}.c"));
    finish(clang)?;
    let mut link = Command::new("lld-link-19");
    link.current_dir(scratch).args(LINK).arg(format!("/out:{name}.sys")).arg(format!("{name}.obj"));
    link.args(MODULES.iter().map(|m| format!("{m}.lib")));
    if name == "t_missing" {
        link.arg(format!("{MISSING}.lib"));
    }
    finish(link)?;
    Ok(scratch.join(format!("{name}.sys")))
}

fn finish(mut command: Command) -> Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|e| format!("{name}: {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    let text = [output.stdout, output.stderr].concat();
    Err(format!("{name}: {}\n{}", output.status, String::from_utf8_lossy(&text)))
}
