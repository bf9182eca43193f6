//! Kills the server of a mounted `dir` volume under load, and compares what is left on the host with what was acknowledged.
//!
//! Room: tests. Called by: front/cli's tests, `cargo xtask accept dir-kill`. Calls: a built `ntio`, the host's file calls.
//! Writers work in the mount, each in a folder of its own and in its part of one file that they share; what a call
//! acknowledged goes into the writer's model at once. After the kill the host's directory must be what the model says, or
//! that with the one call that was under way done, or done in part: a prefix of its bytes. Then the directory is mounted
//! again, must show the same, and the load goes on. Where writes are acknowledged before the host has them (`--cache
//! behind`), only what a completed flush promised must be there (`unflushed.rs`).

mod model;
mod server;
mod unflushed;
mod writer;

pub use model::Random;
use model::{Folder, Under};
pub use server::Server;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use writer::{GIVEN_UP, KILLED, Round, SHARED, Writer};

/// What to do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The `ntio` to use.
    pub program: PathBuf,
    /// More words for it, such as a cache policy.
    pub words: Vec<String>,
    /// Only what was flushed must be there after a kill: the words name a cache that writes behind.
    pub behind: bool,
    /// How often to kill.
    pub rounds: u32,
    /// Where the operations and the moments come from.
    pub seed: u64,
}

/// What a run did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Done {
    /// Kills.
    pub rounds: u32,
    /// Calls that were acknowledged.
    pub acknowledged: u64,
    /// Flushes among them.
    pub flushes: u64,
    /// Files that lacked something when the server fell, as a cache that writes behind may leave them.
    pub lacking: u64,
    /// Calls that were under way when the server fell.
    pub under_way: u32,
    /// Those of which something was on the host.
    pub begun: u32,
}

const WRITERS: usize = 4;
/// A kill that found nothing acknowledged would show nothing: so many calls come first, however slow the machine is.
const LEAST: u64 = 20;
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs a plan in an empty folder of the host.
///
/// # Errors
/// What the host has and the model has not, or the other way round; or that a mount did not come about.
pub fn run(base: &Path, plan: &Plan) -> Result<Done, String> {
    let (at, content) = (base.join("mount"), base.join("content"));
    for folder in [&at, &content] {
        std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    let mut done = Done::default();
    let mut random = Random::new(plan.seed);
    let mut writers: Vec<Writer> =
        (0..WRITERS).map(|number| Writer::new(number, random.number(), plan.behind)).collect();
    for writer in &writers {
        std::fs::create_dir_all(content.join(writer.folder())).map_err(|error| error.to_string())?;
    }
    std::fs::write(content.join(SHARED), b"").map_err(|error| error.to_string())?;
    for round in 0..plan.rounds {
        let failed = |why: String| format!("round {round} of seed {}: {why}", plan.seed);
        let mut server = Server::start(plan, &at, &content).map_err(failed)?;
        for writer in &writers {
            writer.compare(&at, &Under::default()).map_err(|why| failed(format!("after the mount: {why}")))?;
        }
        let state = Round::default();
        let pause = Duration::from_micros(50_000 + random.below(250_000));
        let ended = std::thread::scope(|scope| {
            let (at, state) = (&at, &state);
            let busy: Vec<_> = writers.iter_mut().map(|writer| scope.spawn(move || writer.work(at, state))).collect();
            let begun = Instant::now();
            std::thread::sleep(pause);
            while !state.is_worth_a_kill(LEAST, plan.behind) && begun.elapsed() < PATIENCE {
                if busy.iter().any(|writer| writer.is_finished()) {
                    break;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            state.phase.store(KILLED, Ordering::SeqCst);
            let killed = server.kill();
            if killed.is_err() {
                state.phase.store(GIVEN_UP, Ordering::SeqCst);
            }
            let under = busy.into_iter().map(|each| each.join().map_err(|_| "a writer panicked".to_owned())?);
            let under = under.collect::<Result<Vec<_>, _>>();
            killed.and(under)
        });
        server.finish().map_err(failed)?;
        let ended = ended.map_err(failed)?;
        done.rounds += 1;
        done.under_way += ended.iter().map(|under| u32::from(!under.is_nothing())).sum::<u32>();
        for (writer, under) in writers.iter_mut().zip(ended) {
            let (acknowledged, flushes) = writer.acknowledged();
            done.acknowledged += acknowledged;
            done.flushes += flushes;
            let there = writer.compare(&content, &under).map_err(failed)?;
            done.lacking += writer.lacking(&there);
            done.begun += u32::from(writer.adopt(there, &under));
            sweep(&content.join(writer.folder())).map_err(failed)?;
        }
        strays(&content, &writers).map_err(failed)?;
    }
    Ok(done)
}

/// Takes away the names that a link had before it took its place.
fn sweep(folder: &Path) -> Result<(), String> {
    for entry in std::fs::read_dir(folder).map_err(|error| error.to_string())? {
        let entry = entry.map_err(|error| error.to_string())?;
        if entry.file_name().to_string_lossy().starts_with(".ntio-") {
            std::fs::remove_file(entry.path()).map_err(|error| error.to_string())?;
        }
    }
    Ok(())
}

/// Nothing lies at the top but the folders and the file that are shared.
fn strays(content: &Path, writers: &[Writer]) -> Result<(), String> {
    for entry in std::fs::read_dir(content).map_err(|error| error.to_string())? {
        let name = entry.map_err(|error| error.to_string())?.file_name().to_string_lossy().into_owned();
        if name != SHARED && !writers.iter().any(|writer| writer.folder() == name) {
            return Err(format!("nobody made '{name}'"));
        }
    }
    Ok(())
}

/// A folder as the host has it.
pub(crate) fn read_folder(at: &Path) -> Result<Folder, String> {
    let mut folder = Folder::default();
    let say = |error: std::io::Error| format!("{}: {error}", at.display());
    for entry in std::fs::read_dir(at).map_err(say)? {
        let entry = entry.map_err(say)?;
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        let kind = entry.file_type().map_err(say)?;
        let thing = if kind.is_symlink() {
            model::Thing::Link(std::fs::read_link(&path).map_err(say)?.to_string_lossy().into_owned())
        } else {
            model::Thing::File(std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?.into())
        };
        folder.0.insert(name, thing);
    }
    Ok(folder)
}
