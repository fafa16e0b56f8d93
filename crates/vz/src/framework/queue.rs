//! Serial queues, and objects that can be touched on their queue only.
//!
//! [`OnQueue`] is the proof of running on a queue. It is made in two places: around the work that a [`Queue`] runs, and
//! at the entry of a callback that the framework makes on the queue ([`Queue::callback`], which asks the system). A
//! [`Bound`] opens only for the proof of its own queue.

use std::cell::RefCell;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use dispatch2::{DispatchQueue, DispatchQueueAttr, DispatchRetained, DispatchTime};
use objc2::rc::autoreleasepool;

/// A serial dispatch queue.
#[derive(Debug, Clone)]
pub(super) struct Queue(DispatchRetained<DispatchQueue>);

/// The proof of running on a queue. It cannot leave the work that it was given to: it neither outlives it nor moves to
/// another thread.
#[derive(Debug)]
pub(super) struct OnQueue<'q> {
    queue: &'q DispatchQueue,
    stays_here: PhantomData<*const ()>,
}

impl Queue {
    /// Makes a queue. The label shows in crash reports and debuggers.
    pub(super) fn new(label: &str) -> Self {
        Self(DispatchQueue::new(label, DispatchQueueAttr::SERIAL))
    }

    /// The queue, for the framework to call back on.
    pub(super) fn dispatch(&self) -> &DispatchQueue {
        &self.0
    }

    /// Runs work on the queue, after everything that was submitted before. Returns at once.
    pub(super) fn submit(&self, work: impl FnOnce(&OnQueue<'_>) + Send + 'static) {
        let queue = self.0.clone();
        self.0.exec_async(move || on(&queue, work));
    }

    /// Runs work on the queue once `wait` has passed. Returns at once.
    pub(super) fn submit_after(&self, wait: Duration, work: impl FnOnce(&OnQueue<'_>) + Send + 'static) {
        let queue = self.0.clone();
        // A wait of centuries is none that is asked for here.
        let when = DispatchTime::try_from(wait).unwrap_or(DispatchTime::FOREVER);
        let _always_taken = self.0.after(when, move || on(&queue, work));
    }

    /// Handles a callback that the framework promises to make on this queue. Ends the process if it does not: going on
    /// would be a data race.
    pub(super) fn callback<T>(&self, work: impl FnOnce(&OnQueue<'_>) -> T) -> T {
        self.0.assert();
        on(&self.0, work)
    }
}

/// Runs work with the proof. Only for callers that are on the queue.
fn on<T>(queue: &DispatchQueue, work: impl FnOnce(&OnQueue<'_>) -> T) -> T {
    autoreleasepool(|_| work(&OnQueue { queue, stays_here: PhantomData }))
}

/// A value that is touched on its queue only, and let go of there.
#[derive(Debug)]
pub(super) struct Bound<T: 'static> {
    queue: Queue,
    /// `Some` until it is dropped.
    content: Option<Content<T>>,
}

struct Content<T>(RefCell<T>);

/// Shows nothing of the value: whoever prints it is on no queue.
impl<T> fmt::Debug for Content<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Content")
    }
}

// SAFETY: the value is reached only through `Bound::with`, which wants the proof of running on its queue, and dropped
// only there. The queue is serial: no two threads are ever in it at once, and it orders what one of them wrote before what
// the next one reads. What is made elsewhere is `T::default()`, before any object came into it.
unsafe impl<T> Send for Content<T> {}
// SAFETY: as above; shared references alone reach nothing.
unsafe impl<T> Sync for Content<T> {}

impl<T: Default + 'static> Bound<T> {
    /// Binds an empty value to a queue; objects come into it on the queue.
    pub(super) fn new(queue: &Queue) -> Self {
        Self { queue: queue.clone(), content: Some(Content(RefCell::new(T::default()))) }
    }

    /// Opens it for `work`, which must not open it again.
    ///
    /// # Panics
    /// When `on` is of another queue, or it is open already: both are faults of this crate.
    pub(super) fn with<R>(&self, on: &OnQueue<'_>, work: impl FnOnce(&mut T) -> R) -> R {
        assert!(std::ptr::eq(on.queue, self.queue.dispatch()), "an object of another queue was touched");
        match &self.content {
            Some(content) => work(&mut content.0.borrow_mut()),
            None => unreachable!("it is emptied by its drop alone"),
        }
    }
}

impl<T: 'static> Drop for Bound<T> {
    fn drop(&mut self) {
        if let Some(content) = self.content.take() {
            self.queue.0.exec_async(move || autoreleasepool(|_| drop(content)));
        }
    }
}
