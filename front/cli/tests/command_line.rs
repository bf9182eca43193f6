//! The built `ntio`, as scripts call it: exit codes, refusals, reports, traces.
//!
//! Tests that mount fail where /dev/fuse is absent; NTIO_NO_FUSE=1 says that it is known to be.

use std::path::PathBuf;
use std::process::{Command, Output};

fn ntio(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ntio")).args(words).output().expect("ntio runs")
}
fn code(output: &Output) -> Option<i32> {
    output.status.code()
}
fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
fn no_fuse() -> bool {
    std::env::var_os("NTIO_NO_FUSE").is_some_and(|value| value == "1")
}
fn fixture(name: &str) -> String {
    format!("{}/../../tests/drivers/{name}", env!("CARGO_MANIFEST_DIR"))
}
fn scratch() -> tempfile::TempDir {
    tempfile::tempdir().expect("a directory")
}
fn text(path: PathBuf) -> String {
    path.to_str().expect("UTF-8").to_owned()
}

#[test]
fn run_passes_on_the_commands_own_code() {
    if no_fuse() {
        return;
    }
    for (script, expected) in [("true", 0), ("exit 7", 7), ("kill -TERM $$", 143)] {
        assert_eq!(code(&ntio(&["run", "--report", "none", "--", "sh", "-c", script])), Some(expected), "{script}");
    }
    let absent = ntio(&["run", "--", "no-such-command-here"]);
    assert_eq!(code(&absent), Some(127));
    assert!(stderr(&absent).contains("no-such-command-here"));
    assert_eq!(code(&ntio(&["run", "--report", "none", "--", "/etc/hostname"])), Some(126));
}

#[test]
fn a_signal_for_ntio_ends_the_command_and_a_full_stderr_changes_no_code() {
    if no_fuse() {
        return;
    }
    let start = std::time::Instant::now();
    let program = env!("CARGO_BIN_EXE_ntio");
    let here = scratch();
    let ready = here.path().join("ready");
    let script = format!("touch {}; exec sleep 600", ready.display());
    let mut run =
        Command::new(program).args(["run", "--report", "none", "--", "sh", "-c", &script]).spawn().expect("runs");
    while !ready.exists() && start.elapsed().as_secs() < 120 {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let pid = run.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill").success());
    assert_eq!(run.wait().expect("ends").code(), Some(143));
    assert!(start.elapsed().as_secs() < 500, "the command did not sleep on");

    let full = || std::fs::File::create("/dev/full").expect("/dev/full");
    let done = Command::new(program).args(["run", "--", "sh", "-c", "exit 5"]).stderr(full()).status();
    assert_eq!(done.expect("runs").code(), Some(5));
    let load = [&"load".to_owned(), &fixture("t_flt.sys")];
    let done = Command::new(program).args(load).stdout(full()).output().expect("runs");
    assert!(stderr(&done).contains("stdout") && stderr(&done).contains("3 ok"), "{}", stderr(&done));
}

#[test]
fn a_server_that_dies_is_told_of_without_a_report_too() {
    if no_fuse() {
        return;
    }
    // The server is the one child of ntio that is called with its hidden argument.
    let script = "for p in /proc/[0-9]*; do [ $p != /proc/$$ ] && grep -qa __server $p/cmdline && grep -q \"PPid:[[:space:]]*$PPID$\" $p/status && kill -9 ${p#/proc/}; done; true";
    let done = ntio(&["run", "--report", "none", "--", "sh", "-c", script]);
    assert_eq!(code(&done), Some(1));
    assert!(stderr(&done).contains("the machine fell"), "{}", stderr(&done));
}

#[test]
fn what_is_no_file_of_a_driver_is_refused_before_it_is_read() {
    for path in ["/dev/zero", "/dev/null", "/"] {
        for command in ["load", "imports"] {
            let refused = ntio(&[command, path]);
            assert_eq!(code(&refused), Some(3), "{command} {path}: {}", stderr(&refused));
        }
    }
    let here = scratch();
    let mut image = std::fs::read(fixture("t_flt.sys")).expect("the fixture");
    let header = u32::from_le_bytes(image[0x3C..0x40].try_into().expect("four bytes")) as usize;
    image[header + 24 + 16..header + 24 + 20].fill(0);
    let path = here.path().join("noentry.sys");
    std::fs::write(&path, image).expect("written");
    let refused = ntio(&["load", &text(path)]);
    assert_eq!(code(&refused), Some(3));
    assert!(stderr(&refused).contains("no entry point"), "{}", stderr(&refused));
    let trace = here.path().join("t.jsonl");
    std::fs::write(&trace, "{}\n").expect("written");
    let trace = text(trace);
    assert_eq!(code(&ntio(&["trace", &trace, "-o", &trace])), Some(2));
    assert_eq!(std::fs::read_to_string(&trace).expect("still there"), "{}\n");
}

#[test]
fn paths_are_meant_from_where_ntio_was_called() {
    if no_fuse() {
        return;
    }
    let here = scratch();
    std::fs::create_dir(here.path().join("files")).expect("a directory");
    std::fs::copy(fixture("t_flt.sys"), here.path().join("t_flt.sys")).expect("a copy");
    let words = ["run", "-v", "dir:files", "-f", "t_flt.sys@370030", "--ks", "rawsink:out.raw", "--trace", "t.jsonl"];
    let rest = ["--report-file", "report.txt", "--", "sh", "-c", "echo x > f"];
    let program = env!("CARGO_BIN_EXE_ntio");
    let done = Command::new(program).args(words).args(rest).current_dir(here.path()).output().expect("ntio runs");
    assert_eq!(code(&done), Some(0), "{}", stderr(&done));
    let read = |name: &str| std::fs::read_to_string(here.path().join(name)).expect(name);
    assert_eq!(read("files/f"), "x\n");
    assert!(read("report.txt").contains("t_flt") && read("t.jsonl").contains("IRP_MJ_WRITE"));
    assert!(here.path().join("out.raw").exists());
}

#[test]
fn run_starts_the_command_in_the_mount_and_names_it() {
    if no_fuse() {
        return;
    }
    let done =
        ntio(&["run", "--", "sh", "-c", "test \"$PWD\" = \"$NTIO_MOUNT\" && stat -f -c %T . && echo x > f && cat f"]);
    assert_eq!(code(&done), Some(0), "{}", stderr(&done));
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(said.starts_with("fuse") && said.ends_with("\nx\n"), "{said}");
    assert!(stderr(&done).contains("IRP_MJ_WRITE"), "{}", stderr(&done));
}

#[test]
fn nt_ren_37_a_name_made_anew_keeps_its_time_of_birth_when_that_is_asked_for() {
    if no_fuse() {
        return;
    }
    const SAVE: &str = "echo 1 > f; stat -c '%w %i' f; sleep 0.02; rm f; echo 2 > f; stat -c '%w %i' f";
    for (options, keeps) in [(&["--tunnel"][..], true), (&[], false)] {
        let output = ntio(&[&["run"], options, &["--", "sh", "-c", SAVE]].concat());
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let words: Vec<&str> = printed.split_whitespace().collect();
        assert_eq!((code(&output), words.len()), (Some(0), 8), "{}", stderr(&output));
        assert_eq!(words[..3] == words[4..7], keeps, "{printed}");
        assert_ne!(words[3], words[7], "it is another file");
    }
}

#[test]
fn a_git_session_survives_fsck_and_shows_its_writes() {
    if no_fuse() {
        return;
    }
    let file = scratch();
    let report = text(file.path().join("report.json"));
    let script = "set -e; git init -q r; cd r; git config user.email a@b; git config user.name n; \
        for i in 1 2 3 4 5; do echo $i > f$i; git add .; git commit -qm $i; done; git fsck --full --strict";
    let done = ntio(&["run", "--report", "json", "--report-file", &report, "--", "sh", "-c", script]);
    assert_eq!(code(&done), Some(0), "{}", stderr(&done));
    let json = std::fs::read_to_string(&report).expect("a report");
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    let requests = json["requests"].as_array().expect("requests");
    let writes = requests.iter().filter(|row| row["major"] == "IRP_MJ_WRITE");
    assert!(writes.map(|row| row["count"].as_u64().expect("a count")).sum::<u64>() > 20, "{json}");
    assert!(
        requests.iter().all(|row| row["statuses"].is_object() && row["p99_ns"].is_u64() && row["fast"].is_boolean())
    );
    assert!(json["filters"].is_array() && json["findings"].as_array().expect("findings").is_empty());
    assert_eq!(json["command"]["argv"][0], "sh");
    assert_eq!(json["command"]["exit"], 0);
}

#[test]
fn the_report_counts_what_each_program_read_and_wrote() {
    if no_fuse() {
        return;
    }
    let file = scratch();
    let report = text(file.path().join("report.json"));
    let script = "head -c 100000 /dev/zero | dd bs=50000 iflag=fullblock of=f status=none && dd if=f of=/dev/null bs=1000 count=7 status=none";
    let done = ntio(&["run", "--report", "json", "--report-file", &report, "--", "sh", "-c", script]);
    assert_eq!(code(&done), Some(0), "{}", stderr(&done));
    let json = std::fs::read_to_string(&report).expect("a report");
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    let rows = json["processes"].as_array().expect("processes");
    let row = rows.iter().find(|row| row["name"] == "dd").unwrap_or_else(|| panic!("{json}"));
    assert_eq!(
        (&row["processes"], &row["writes"], &row["write_bytes"]),
        (&2.into(), &2.into(), &100_000.into()),
        "{row}"
    );
    assert!(row["read_bytes"].as_u64().is_some_and(|bytes| bytes >= 7000), "{row}");
    let shown = ntio(&["run", "--", "sh", "-c", "echo x > f; cat f; :"]);
    let words: Vec<String> =
        stderr(&shown).lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert!(words.iter().any(|line| line.starts_with("program processes reads")), "{}", stderr(&shown));
    assert!(words.iter().any(|line| line.starts_with("cat 1 2 2 B 0 0 B ")), "{}", stderr(&shown));
}

#[test]
fn a_trace_has_one_event_a_line() {
    if no_fuse() {
        return;
    }
    let file = scratch();
    let trace = text(file.path().join("t.jsonl"));
    let done = ntio(&["run", "--report", "none", "--trace", &trace, "--", "sh", "-c", "mkdir d; echo hello > d/f"]);
    assert_eq!(code(&done), Some(0), "{}", stderr(&done));
    let lines = std::fs::read_to_string(&trace).expect("a trace");
    let events: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let write = events.iter().find(|event| event["op"] == "IRP_MJ_WRITE").expect("a write");
    assert_eq!((&write["file"], &write["length"], &write["offset"]), (&"\\d\\f".into(), &6.into(), &0.into()));
    assert_eq!((&write["status"], &write["information"]), (&"0x00000000".into(), &6.into()));
    let rules = write["rules"].as_array().expect("a list");
    assert!(["NT-O-03", "NT-W-04"].iter().all(|id| rules.contains(&(*id).into())), "{write}");
    let shell = std::fs::canonicalize("/bin/sh").expect("a shell");
    assert_eq!(write["process"], shell.file_name().expect("a name").to_string_lossy().as_ref(), "{write}");
    assert_ne!(write["pid"], 0);
    for member in ["seq", "t_ns", "pid", "flags", "fast", "generated", "rules", "hops"] {
        assert!(events.iter().all(|event| event.get(member).is_some()), "{member}");
    }
}

#[test]
fn a_printed_trace_tells_who_asked_and_which_of_it_was_paging() {
    if no_fuse() {
        return;
    }
    let file = scratch();
    let trace = text(file.path().join("t.jsonl"));
    let script = "import mmap\nf = open('f', 'wb+')\nf.truncate(4096)\nm = mmap.mmap(f.fileno(), 4096)\nm[0:4] = b'abcd'\nm.flush()\nf.write(b'own')\nf.close()";
    let done = ntio(&["run", "--report", "none", "--trace", &trace, "--", "python3", "-c", script]);
    assert_eq!(code(&done), Some(0), "{}", stderr(&done));
    let printed = ntio(&["trace", &trace, "--filter", "op=write and file~f"]);
    let printed = String::from_utf8_lossy(&printed.stdout).into_owned();
    let (paging, own): (Vec<&str>, Vec<&str>) =
        printed.lines().filter(|line| line.contains("IRP_MJ_WRITE")).partition(|line| line.contains(" paging"));
    assert!(!paging.is_empty() && !own.is_empty(), "{printed}");
    assert!(paging.iter().all(|line| line.contains("ystem") && !line.contains("python3")), "{printed}");
    assert!(own.iter().all(|line| line.contains("python3")), "{printed}");
}

#[test]
fn a_trace_for_perfetto_is_read_back_printed_and_converted() {
    if no_fuse() {
        return;
    }
    let folder = scratch();
    let trace = text(folder.path().join("t.json"));
    let script = "echo hello > f; cat f; rm f";
    let done = ntio(&["run", "-f", "spy", "--report", "none", "--trace", &trace, "--", "sh", "-c", script]);
    assert_eq!(code(&done), Some(0), "{}", stderr(&done));
    let whole: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&trace).expect("a trace")).expect("JSON");
    let slices = whole["traceEvents"].as_array().expect("a list");
    let write = slices.iter().find(|slice| slice["name"] == "IRP_MJ_WRITE \\f").expect("a write");
    assert_eq!((&write["ph"], &write["args"]["length"]), (&"X".into(), &6.into()));
    assert!(slices.iter().any(|slice| slice["name"] == "spy pre" && slice["cat"] == "filter"));
    assert!(slices.iter().all(|slice| slice["ts"].is_number() && slice["pid"].is_number() && slice["tid"].is_number()));

    let printed = ntio(&["trace", &trace, "--filter", "op=write and rules=NT-W-04"]);
    let printed = String::from_utf8_lossy(&printed.stdout).into_owned();
    assert!(printed.lines().count() >= 2, "{printed}");
    assert!(printed.contains("IRP_MJ_WRITE") && printed.contains("NT-W-04") && printed.contains("spy"), "{printed}");
    assert!(!printed.contains("IRP_MJ_CREATE"), "{printed}");

    let lines = text(folder.path().join("t.jsonl"));
    assert_eq!(code(&ntio(&["trace", &trace, "-o", &lines])), Some(0));
    let back = ntio(&["trace", &lines, "--format", "perfetto"]);
    let back: serde_json::Value = serde_json::from_slice(&back.stdout).expect("JSON");
    assert_eq!(back["traceEvents"].as_array().map(Vec::len), Some(slices.len()));

    let mistake = ntio(&["trace", &lines, "--filter", "lenght>3"]);
    assert_eq!(code(&mistake), Some(2));
    assert!(stderr(&mistake).contains("lenght") && stderr(&mistake).contains("length"), "{}", stderr(&mistake));
    let mistake = ntio(&["trace", &lines, "--filter", "length>abc"]);
    assert_eq!(code(&mistake), Some(2));
    assert!(stderr(&mistake).contains("'abc'") && stderr(&mistake).contains("'length'"), "{}", stderr(&mistake));
    assert_eq!(code(&ntio(&["trace", "/no/such/trace.jsonl"])), Some(125));
}

#[test]
fn the_drivers_process_can_open_nothing() {
    if no_fuse() {
        return;
    }
    let done = ntio(&["run", "--", "true"]);
    let report = stderr(&done);
    assert!(report.contains("lock-down") && report.contains("no new privileges"), "{report}");
}

#[test]
fn a_dir_volume_is_the_directory_of_the_host() {
    if no_fuse() {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("before"), "host\n").expect("a file of the host");
    let volume = format!("dir:{}", directory.path().display());
    let script =
        "cat before && echo a > f && mkdir d && echo b > d/g && mv f d/f && ln -s g d/l && cat d/l && sync d/g";
    let done = ntio(&["run", "-v", &volume, "--", "sh", "-c", script]);
    assert_eq!(code(&done), Some(0), "{}", stderr(&done));
    assert_eq!(String::from_utf8_lossy(&done.stdout), "host\nb\n");
    let read = |name: &str| std::fs::read_to_string(directory.path().join(name)).expect("left on the host");
    assert_eq!((read("d/f").as_str(), read("d/g").as_str()), ("a\n", "b\n"));
    assert!(!directory.path().join("f").exists());
    assert_eq!(std::fs::read_link(directory.path().join("d/l")).expect("a link").to_str(), Some("g"));
    let report = stderr(&done);
    assert!(report.contains(&format!("no paths but {}", directory.path().display())), "{report}");
    let done = ntio(&["run", "-v", &volume, "--", "cat", "d/f", "before"]);
    assert_eq!(String::from_utf8_lossy(&done.stdout), "a\nhost\n", "{}", stderr(&done));
}

#[test]
fn owner_mode_and_times_of_a_dir_volume_are_the_hosts() {
    use std::os::unix::fs::MetadataExt;
    if no_fuse() {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let volume = format!("dir:{}", directory.path().display());
    let script = "echo x > f && chmod 640 f && touch -d @1000000000.5 f && chmod 0 f && chmod 600 f && mkdir d && \
                  chmod 711 d && ln f h && ln -s f l && mkfifo p && stat -c %a d f";
    let script = format!("{script} && {{ touch -h -d @1000000001 l && touch -d @5 p || true; }}");
    let done = ntio(&["run", "-v", &volume, "--", "sh", "-c", &script]);
    assert_eq!((code(&done), done.stdout.as_slice()), (Some(0), &b"711\n600\n"[..]), "{}", stderr(&done));
    let of = |name: &str| std::fs::symlink_metadata(directory.path().join(name)).expect("on the host");
    assert_eq!((of("f").mode() & 0o7777, of("f").mtime(), of("f").mtime_nsec()), (0o600, 1_000_000_000, 500_000_000));
    assert_eq!((of("h").ino(), of("h").nlink()), (of("f").ino(), 2));
    assert_eq!(of("d").mode() & 0o7777, 0o711);
    if !stderr(&done).contains("no mseal") {
        assert_eq!((of("l").mtime(), of("p").mtime()), (1_000_000_001, 5));
    }
}

#[test]
fn a_directory_that_is_not_there_is_named() {
    let refused = ntio(&["run", "-v", "dir:/no/such/directory", "--", "true"]);
    assert_eq!(code(&refused), Some(125), "{}", stderr(&refused));
    assert!(stderr(&refused).contains("dir:/no/such/directory") && stderr(&refused).contains("give a directory"));
}

#[test]
fn what_is_not_there_yet_is_refused_by_name() {
    for (words, named) in [
        (&["run", "--inf", "x.inf", "--", "true"][..], "--inf"),
        (&["run", "--verify", "full", "--", "true"], "--verify full"),
        (&["run", "--async", "random", "--", "true"], "--async random"),
        (&["run", "--fs-type", "fat", "--", "true"], "--fs-type fat"),
        (&["run", "--trace", "x.etl", "--", "true"], "x.etl"),
        (&["check", "x.sys"], "check"),
        (&["fltmc", "filters"], "fltmc"),
        (&["ddk", "somewhere"], "ddk"),
    ] {
        let refused = ntio(words);
        assert_eq!(code(&refused), Some(2), "{words:?}");
        assert!(
            stderr(&refused).contains(named) && stderr(&refused).contains("not there yet") || named == "x.etl",
            "{words:?}"
        );
    }
    let help = String::from_utf8_lossy(&ntio(&["run", "--help"]).stdout).into_owned();
    for (there, absent) in [("worker", "random"), ("off", "standard"), ("ntfs", "refs")] {
        let listed = |value: &str| {
            help.contains(&format!("- {value}"))
                || help.lines().any(|line| line.contains("possible values") && line.contains(value))
        };
        assert!(listed(there) && !listed(absent), "{help}");
    }
}

#[test]
fn wrong_words_are_named_with_a_remedy() {
    for (words, named, remedy) in [
        (&["run", "-v", "disk", "--", "true"][..], "'disk'", "ram"),
        (&["run", "-v", "ram:x", "--", "true"], "'x'", "512M"),
        (&["run", "-v", "dir:", "--", "true"], "'dir'", "dir:/srv/data"),
        (&["run", "-f", "nosuch", "--", "true"], "'nosuch'", "spy"),
        (&["run", "-f", "spy@high", "--", "true"], "'high'", "385100"),
        (&["run", "--stub", "A", "--", "true"], "'A'", "NAME=STATUS"),
        (&["run", "--stub", "A=1", "--", "true"], "--stub A", "-f PATH/to/x.sys"),
        (&["run", "-v", "ram:1", "--", "true"], "'1'", "512M"),
    ] {
        let refused = ntio(words);
        assert_eq!(code(&refused), Some(2), "{words:?}");
        assert!(
            stderr(&refused).contains(named) && stderr(&refused).contains(remedy),
            "{words:?}: {}",
            stderr(&refused)
        );
    }
    assert_eq!(code(&ntio(&["run"])), Some(2));
    assert_eq!(code(&ntio(&["--no-such-option"])), Some(2));
}

#[test]
fn a_stub_for_a_name_that_is_not_imported_is_refused() {
    let refused = ntio(&["load", &fixture("t_flt.sys"), "--stub", "FltRegisterFilte=0", "--allow-missing"]);
    assert_eq!(code(&refused), Some(2));
    let said = stderr(&refused);
    assert!(said.contains("FltRegisterFilte: not imported by t_flt.sys") && said.contains("ntio imports"), "{said}");
}

#[test]
fn files_that_cannot_be_are_named_with_a_remedy_before_anything_runs() {
    let folder = scratch();
    let ran = folder.path().join("ran");
    let touch = ["--", "touch", ran.to_str().expect("UTF-8")];
    for (words, named) in [
        (["run", "--report-file", "/no/such/report"], "--report-file /no/such/report"),
        (["run", "--trace", "/no/such/trace.jsonl"], "/no/such/trace.jsonl"),
    ] {
        let refused = ntio(&[&words[..], &touch[..]].concat());
        assert_eq!(code(&refused), Some(125), "{words:?}");
        let said = stderr(&refused);
        assert!(said.contains(named) && said.contains("in a directory that can be written"), "{said}");
        assert!(!ran.exists());
    }
    let refused = ntio(&["trace", "/no/such/trace"]);
    assert_eq!(code(&refused), Some(125));
    assert!(stderr(&refused).contains("/no/such/trace") && stderr(&refused).contains("--trace FILE.jsonl"));
}

#[test]
fn two_filters_at_one_altitude_are_refused_with_a_remedy() {
    if no_fuse() {
        return;
    }
    let refused = ntio(&["run", "-f", "spy", "-f", "spy", "--", "true"]);
    assert_eq!(code(&refused), Some(2));
    let said = stderr(&refused);
    assert!(said.contains("ALTITUDE_COLLISION") && said.contains("-f spy@385200"), "{said}");
    assert_eq!(code(&ntio(&["run", "-f", "spy", "-f", "spy@385200", "--report", "none", "--", "true"])), Some(0));
}

#[test]
fn a_report_without_filters_names_no_status_of_theirs() {
    if no_fuse() {
        return;
    }
    let done = ntio(&["run", "--", "sh", "-c", "dd if=/dev/zero of=d bs=1M count=2 status=none"]);
    assert!(code(&done) == Some(0) && !stderr(&done).contains("STATUS_FLT"), "{}", stderr(&done));
}

#[test]
fn a_file_with_a_hole_takes_what_was_written_before_and_after_it_is_flushed() {
    if no_fuse() {
        return;
    }
    for cache in ["through", "behind"] {
        let directory = scratch();
        let volume = format!("dir:{}", directory.path().display());
        let script = "dd if=/dev/zero of=s bs=4k count=1 seek=1000 status=none; stat -c %b s; sync s; stat -c %b s";
        let done = ntio(&["run", "-v", &volume, "--cache", cache, "--report", "none", "--", "sh", "-c", script]);
        let said = String::from_utf8_lossy(&done.stdout).into_owned();
        let blocks: Vec<u64> = said.lines().map(|line| line.parse().expect("a number")).collect();
        assert_eq!(blocks.len(), 2, "{said}");
        assert!(blocks.iter().all(|&blocks| blocks <= 64), "{cache}: {blocks:?}, of 8008 with the hole");
    }
}

#[test]
fn a_mount_point_that_does_not_exist_is_named() {
    let refused = ntio(&["mount", "/nonexistent/ntio"]);
    assert_eq!(code(&refused), Some(125));
    assert!(
        stderr(&refused).contains("/nonexistent/ntio") && stderr(&refused).contains("mkdir"),
        "{}",
        stderr(&refused)
    );
}

#[test]
fn what_is_no_driver_image_is_refused() {
    let file = scratch();
    let path = text(file.path().join("x.sys"));
    for bytes in [&b""[..], b"MZ", b"#!/bin/sh\nexit 0\n"] {
        std::fs::write(&path, bytes).expect("written");
        for words in [&["load", &path][..], &["imports", &path]] {
            let refused = ntio(words);
            assert_eq!(code(&refused), Some(3), "{words:?}");
            assert!(stderr(&refused).contains("x.sys"), "{}", stderr(&refused));
        }
    }
    assert_eq!(code(&ntio(&["load", "/nonexistent.sys"])), Some(3));
}

#[test]
fn missing_imports_are_all_listed() {
    let refused = ntio(&["load", &fixture("t_missing.sys")]);
    assert_eq!(code(&refused), Some(3));
    assert!(stderr(&refused).contains("ntoskrnl.exe!NtioRoutineThatNoKernelExports"), "{}", stderr(&refused));
    assert!(stderr(&refused).contains("--allow-missing"));
    let listed = ntio(&["imports", &fixture("t_missing.sys"), "--json"]);
    assert_eq!(code(&listed), Some(3));
    let rows: serde_json::Value = serde_json::from_slice(&listed.stdout).expect("JSON");
    assert_eq!(rows[0]["name"], "NtioRoutineThatNoKernelExports");
    assert_eq!(rows[0]["support"], "absent");
}

#[test]
fn a_missing_import_that_is_called_is_a_bug_check_and_a_finding() {
    let fell = ntio(&["load", &fixture("t_missing.sys"), "--allow-missing"]);
    assert_eq!(code(&fell), Some(1));
    assert!(stderr(&fell).contains("NtioRoutineThatNoKernelExports"), "{}", stderr(&fell));
    let stubbed = ntio(&["load", &fixture("t_missing.sys"), "--stub", "NtioRoutineThatNoKernelExports=0xC0000001"]);
    assert_eq!(code(&stubbed), Some(1), "DriverEntry returns what the stub answers");
    assert!(
        stderr(&stubbed).contains("0xC0000001") || stderr(&stubbed).contains("UNSUCCESSFUL"),
        "{}",
        stderr(&stubbed)
    );
}

#[test]
fn the_servers_argument_is_no_command() {
    let alone = Command::new(env!("CARGO_BIN_EXE_ntio")).arg("__server").stdin(std::process::Stdio::null()).output();
    assert_ne!(alone.expect("ntio runs").status.code(), Some(0));
}

#[test]
fn interrupting_a_mount_unmounts_it() {
    if no_fuse() {
        return;
    }
    let directory = scratch();
    let mut mount = Command::new(env!("CARGO_BIN_EXE_ntio"))
        .arg("mount")
        .arg(directory.path())
        .args(["--report", "none"])
        .spawn()
        .expect("ntio runs");
    let mounted =
        || std::fs::read_to_string("/proc/mounts").is_ok_and(|all| all.contains(&text(directory.path().to_owned())));
    let end = std::time::Instant::now() + std::time::Duration::from_secs(120);
    while !mounted() && std::time::Instant::now() < end {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert!(mounted());
    std::fs::write(directory.path().join("f"), b"x").expect("a write");
    let killed = Command::new("kill").arg("-INT").arg(mount.id().to_string()).status().expect("kill");
    assert!(killed.success());
    assert_eq!(mount.wait().expect("it ends").code(), Some(130));
    assert!(!mounted());
}

#[test]
fn rules_are_listed_with_their_tests() {
    let listed = ntio(&["rules", "--json"]);
    assert_eq!(code(&listed), Some(0));
    let rules: serde_json::Value = serde_json::from_slice(&listed.stdout).expect("JSON");
    let rules = rules.as_array().expect("a list");
    assert!(rules.len() >= 1276, "{} rules", rules.len());
    for rule in rules {
        let status = rule["status"].as_str().expect("a status");
        assert!(["implemented", "partial", "absent", "doc"].contains(&status), "{rule}");
        assert!(rule["tests"].is_array() && rule["doors"].is_array() && rule["evidence"].is_string(), "{rule}");
        assert!(status != "implemented" || !rule["tests"].as_array().expect("tests").is_empty(), "{rule}");
    }
    assert!(rules.iter().any(|rule| rule["status"] == "implemented"));
    let text = ntio(&["rules"]);
    assert!(String::from_utf8_lossy(&text.stdout).lines().last().expect("a line").contains("implemented"));
}

#[test]
fn a_drivers_own_checks_are_printed_and_counted() {
    let loaded = ntio(&["load", &fixture("t_zw.sys"), "--report", "json"]);
    assert_eq!(code(&loaded), Some(0), "{}", stderr(&loaded));
    let printed = String::from_utf8_lossy(&loaded.stdout).into_owned();
    let ok = printed.lines().filter(|line| line.starts_with("ok ")).count();
    assert!(ok > 20 && !printed.contains("not ok "), "{printed}");
    assert_eq!(stderr(&loaded).lines().last(), Some(format!("{ok} ok, 0 not ok").as_str()));
}

#[test]
fn nt_dir_24_a_volume_makes_short_names_when_it_is_asked_to() {
    let driver = fixture("t_short.sys");
    let last = |options: &[&str]| {
        let loaded = ntio(&[&["load", &driver][..], options].concat());
        (code(&loaded), stderr(&loaded).lines().last().map(str::to_owned))
    };
    assert_eq!(last(&["--short-names", "--tunnel"]), (Some(0), Some("62 ok, 0 not ok".to_owned())));
    let (failed, counted) = last(&[]);
    assert_eq!(failed, Some(1));
    assert!(counted.is_some_and(|counted| !counted.ends_with(", 0 not ok")), "it finds nothing by a short name");
}

#[test]
fn load_runs_the_five_calls_of_a_compiled_driver() {
    let loaded = ntio(&["load", &fixture("t_five.sys")]);
    assert_eq!(code(&loaded), Some(0), "{}", stderr(&loaded));
    let said = String::from_utf8_lossy(&loaded.stdout).into_owned();
    let counted = said.lines().filter(|line| line.starts_with("ok ")).count();
    assert!(counted >= 150, "{counted} checks only:\n{said}");
    let last = stderr(&loaded).lines().last().map(str::to_owned);
    assert_eq!(last, Some(format!("{counted} ok, 0 not ok")));
}

#[test]
fn a_streaming_device_that_cannot_be_is_refused_by_name() {
    let null = fixture("t_null.sys");
    for (words, expected, names) in [
        (vec!["--ks", "speaker"], 2, "'speaker'"),
        (vec!["--ks", "rawsink"], 2, "rawsink:out.raw"),
        (vec!["--ks", "null", "--ks", "null"], 2, "'null'"),
        (vec!["--ks", "rawsink:/no/such/directory/file"], 125, "/no/such/directory/file"),
    ] {
        let refused = ntio(&[vec!["load", null.as_str()], words.clone()].concat());
        assert_eq!(code(&refused), Some(expected), "{words:?}");
        assert!(stderr(&refused).contains(names), "{}", stderr(&refused));
    }
}
