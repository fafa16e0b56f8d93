//! The promise itself, watched while a test does its worst: two QEMUs with one UUID never live at the same time.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::process::{Process, all_with};

/// A thread that looks at all processes of a test again and again.
#[must_use]
pub(crate) struct Watch {
    done: Arc<AtomicBool>,
    thread: Option<JoinHandle<Option<Vec<Process>>>>,
}

impl Watch {
    pub(super) fn new(folder: &Path) -> Self {
        let done = Arc::new(AtomicBool::new(false));
        let (flag, folder): (_, PathBuf) = (Arc::clone(&done), folder.to_owned());
        let look = move || {
            while !flag.load(Ordering::Relaxed) {
                if let Some(twins) = twins(&folder) {
                    return Some(twins);
                }
                std::thread::sleep(Duration::from_millis(3));
            }
            twins(&folder)
        };
        Self { done, thread: Some(std::thread::spawn(look)) }
    }

    /// Fails if two were ever seen.
    #[track_caller]
    pub(crate) fn never_two(mut self) {
        self.done.store(true, Ordering::Relaxed);
        let seen = self.thread.take().and_then(|thread| thread.join().expect("the watch panicked"));
        assert_eq!(seen, None, "two QEMUs with one identity lived at the same time");
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
    }
}

/// QEMUs with one UUID, seen in one look and seen again in a second: in between, one may have ended and one started.
fn twins(folder: &Path) -> Option<Vec<Process>> {
    let mut by_uuid: HashMap<String, Vec<Process>> = HashMap::new();
    for process in all_with(folder).into_iter().filter(Process::is_qemu) {
        if let Some(uuid) = process.uuid().map(str::to_owned) {
            by_uuid.entry(uuid).or_default().push(process);
        }
    }
    let several = by_uuid.into_values().find(|processes| processes.len() > 1)?;
    let still: Vec<_> =
        several.into_iter().filter(|process| Process::of(process.pid).as_ref() == Some(process)).collect();
    (still.len() > 1).then_some(still)
}
