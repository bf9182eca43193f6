//! Model checks of the lock-free parts, on the real code: `cargo test -p ntio_models --features shuttle`.
//!
//! Room: tests. Calls: the rooms, whose atomics, locks and threads are the checker's then (`nt_cell::sync`, `nt_ke::lock`), and
//! whose every access to foreign memory is a point at which it may let another thread run. Each check runs under a random
//! scheduler and under one that bounds preemptions; a failure prints the schedule, which replays it.
//! Each was seen to fail when the order that its code argues with was changed (a count after the unlock, a sequence that stands
//! still, a wake left out, a mark set after the look).
//! The machine under the checks has x86's store buffers (`nt_cell::sync::buffers`). Not here: what a compiler may reorder beyond
//! that, where an ordering is weaker than its argument needs: that is for `cargo xtask accept tsan`.

#[cfg(feature = "shuttle")]
pub mod check {
    //! How a check is run.

    /// Schedules of each kind.
    const SCHEDULES: usize = 10_000;

    /// The rooms' static tables are of one model at a time.
    static ONE: std::sync::Mutex<()> = std::sync::Mutex::new(());

    /// Runs `model` under many schedules, of both kinds.
    pub fn explore(model: impl Fn() + Send + Sync + Clone + 'static) {
        let _alone = ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut config = shuttle::Config::new();
        config.stack_size = 0x4_0000;
        config.max_steps = shuttle::MaxSteps::FailAfter(200_000);
        let random = shuttle::scheduler::RandomScheduler::new(SCHEDULES);
        shuttle::Runner::new(random, config.clone()).run(model.clone());
        let bounded = shuttle::scheduler::PctScheduler::new(3, SCHEDULES);
        shuttle::Runner::new(bounded, config).run(model);
    }

    /// Runs a test of this binary in a process of its own, with a step of `nt_cell::sync::Step` left out; tells what it said.
    /// The schedules are new ones each time, or those of a seed.
    fn without(step: &str, test: &str, seed: Option<&str>) -> (bool, String) {
        let mut this = std::process::Command::new(std::env::current_exe().expect("this test"));
        this.args(["--exact", test]).env("NTIO_LEFT_OUT", step).envs(seed.map(|seed| ("SHUTTLE_RANDOM_SEED", seed)));
        let done = this.output().expect("it runs");
        let said = [done.stdout, done.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
        assert!(said.contains("running 1 test"), "no test is called {test}: {said}");
        (done.status.success(), said)
    }

    /// The check `test` fails with one of `faults` when `step` is left out. It is no search for news but a claim about the
    /// check: the same schedules in each run meet the same fault first.
    pub fn is_found_without(step: &str, test: &str, faults: &[&str]) {
        let (passed, said) = without(step, test, Some("1"));
        let found = !passed && faults.iter().any(|&fault| said.contains(fault));
        assert!(found, "without {step} {test} found none of {faults:?}: {said}");
    }

    /// The check `test` passes even when `step` is left out.
    pub fn stands_without(step: &str, test: &str) {
        let (passed, said) = without(step, test, None);
        assert!(passed, "without {step} {test} failed: {said}");
    }
}
