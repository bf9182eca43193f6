//! Throttling writers: CcCanIWrite, CcDeferWrite.
//!
//! Room: ntos/cc. Called by: file systems before they take a lock. IRQL: PASSIVE_LEVEL. Locks: the list of deferred
//! writes, then that of the due ones; none while a post routine runs. Source: CcCanIWrite, CcDeferWrite, CcSetDirtyPageThreshold pages; rules NT-CC-15, NT-CC-16.

use crate::manager::Manager;
use crate::map::map_of_file;
use crate::pages::PAGE;
use nt_abi::io::FILE_OBJECT;
use nt_cell::Foreign;
use nt_ke::Kernel;
use nt_ke::work::WorkQueue;
use nt_trace::rule;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A write that waits until pages are clean.
pub(crate) struct Deferred {
    file: Foreign<FILE_OBJECT>,
    bytes: u64,
    post: Box<dyn FnOnce() + Send>,
}

/// Post routines whose time has come.
#[derive(Default)]
pub(crate) struct Posts {
    due: VecDeque<Box<dyn FnOnce() + Send>>,
    /// A worker runs them.
    running: bool,
}

/// CcSetDirtyPageThreshold: how many dirty pages throttle writers of one stream; 0 for no limit of its own.
pub fn set_dirty_page_threshold(file: Foreign<FILE_OBJECT>, pages: u32) {
    if let Some(map) = map_of_file(file) {
        map.manager.thresholds.store(true, Ordering::Relaxed);
        map.threshold.store(pages, Ordering::Relaxed);
    }
}

/// CcCanIWrite: whether `bytes` more may become dirty now. With `wait` the caller sleeps until they may.
#[must_use]
pub fn can_write(file: Foreign<FILE_OBJECT>, bytes: u64, wait: bool, _retrying: bool) -> bool {
    let frame = nt_ke::current();
    let manager = Manager::of(&frame.kernel);
    if manager.has_room(file, bytes) {
        return true;
    }
    manager.kick(&frame.kernel);
    if !wait {
        return false;
    }
    let mut easing = manager.easing.lock();
    while !manager.has_room(file, bytes) {
        manager.eased.wait(&mut easing);
    }
    true
}

/// CcCopyWriteWontFlush: whether a fast copy of so many bytes is sure not to lead to a paging write (NT-CC-18).
#[must_use]
pub fn write_will_not_flush(file: Foreign<FILE_OBJECT>, bytes: u32) -> bool {
    Manager::of(&nt_ke::current().kernel).has_room(file, bytes.into())
}

/// CcDeferWrite: `post` runs when the write may go on; at once if it may now. `first` puts it at the head (NT-CC-16).
pub fn defer_write(file: Foreign<FILE_OBJECT>, bytes: u64, first: bool, post: impl FnOnce() + Send + 'static) {
    let frame = nt_ke::current();
    let manager = Manager::of(&frame.kernel);
    let deferred = Deferred { file, bytes, post: Box::new(post) };
    {
        let mut waiting = manager.waiting.lock();
        if first {
            waiting.push_front(deferred);
        } else {
            waiting.push_back(deferred);
        }
    }
    if manager.has_room(file, bytes) {
        manager.post_deferred(&frame.kernel);
    } else {
        manager.kick(&frame.kernel);
    }
}

impl Manager {
    fn has_room(&self, file: Foreign<FILE_OBJECT>, bytes: u64) -> bool {
        let pages = bytes.div_ceil(PAGE) as usize;
        let fits = |dirty: usize, limit: usize| dirty == 0 || dirty + pages <= limit;
        if !fits(self.dirty.load(Ordering::Acquire), self.limit.load(Ordering::Relaxed)) {
            return false;
        }
        if !self.thresholds.load(Ordering::Relaxed) {
            return true;
        }
        map_of_file(file).is_none_or(|map| match map.threshold.load(Ordering::Relaxed) {
            0 => true,
            threshold => fits(map.dirty_pages(), threshold as usize),
        })
    }

    /// Pages became clean: those who sleep look again, deferred writes are posted.
    pub(crate) fn ease(&self) {
        drop(self.easing.lock());
        self.eased.notify_all();
        if !self.waiting.lock().is_empty()
            && let Some(kernel) = self.kernel()
        {
            self.post_deferred(&kernel);
        }
    }

    /// Posts deferred writes while there is room: one worker calls their routines, each after the one before it returned.
    fn post_deferred(&self, kernel: &Arc<Kernel>) {
        let mut waiting = self.waiting.lock();
        let mut posts = self.posts.lock();
        rule!(NT_CC_16);
        while let Some(first) = waiting.front()
            && self.has_room(first.file, first.bytes)
        {
            posts.due.extend(waiting.pop_front().map(|first| first.post));
        }
        if posts.due.is_empty() || std::mem::replace(&mut posts.running, true) {
            return;
        }
        drop((waiting, posts));
        WorkQueue::queue(kernel, || {
            let frame = nt_ke::current();
            let manager = Manager::of(&frame.kernel);
            while let Some(post) = manager.next_post() {
                post();
            }
        });
    }

    fn next_post(&self) -> Option<Box<dyn FnOnce() + Send>> {
        let mut posts = self.posts.lock();
        let next = posts.due.pop_front();
        posts.running = next.is_some();
        next
    }
}
