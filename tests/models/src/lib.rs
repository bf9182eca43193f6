//! Model checks of the lock-free parts, on the real code: `cargo test -p ntio_models --features shuttle`.
//!
//! Room: tests. Calls: the rooms, whose atomics, locks and threads are the checker's then (`nt_cell::sync`, `nt_ke::lock`), and
//! whose every access to foreign memory is a point at which it may let another thread run. Each check runs under a random
//! scheduler and under one that bounds preemptions; a failure prints the schedule, which replays it.
//! Each was seen to fail when the order that its code argues with was changed (a count after the unlock, a sequence that stands
//! still, a wake left out, a mark set after the look).
//! Not here: orderings weaker than sequential consistency: those are for `cargo xtask accept tsan`.

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
}
