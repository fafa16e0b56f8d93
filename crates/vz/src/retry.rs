//! How long a start is tried again while something still holds the VM's files.
//!
//! The framework locks the auxiliary storage and the disks of a machine and lets go of them only when the last object of
//! the machine is gone, in a process of its own. A start right after an end therefore meets "Failed to lock auxiliary
//! storage" (EAGAIN) for up to about 8 s (reports in the issues of public tools; confidence: medium). Waiting is right for
//! those, and hopeless for a machine that another tool runs.

use std::time::Duration;

/// The waits between the tries, in milliseconds; 15 s in all.
const WAITS: [u64; 6] = [250, 500, 1_000, 2_000, 4_000, 7_250];

/// The schedule of one start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retry {
    tries: usize,
}

impl Retry {
    /// All the waiting of one start.
    pub const TOTAL: Duration = Duration::from_secs(15);

    /// How long to wait before the next try; `None` when it is to be given up.
    pub fn next_wait(&mut self) -> Option<Duration> {
        let wait = WAITS.get(self.tries).copied().map(Duration::from_millis);
        self.tries += usize::from(wait.is_some());
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_waits_longer_and_longer_and_gives_up_after_the_total() {
        let mut retry = Retry::default();
        let waits: Vec<Duration> = std::iter::from_fn(|| retry.next_wait()).collect();
        assert_eq!(waits.first(), Some(&Duration::from_millis(250)));
        assert!(waits.is_sorted());
        assert_eq!(waits.iter().sum::<Duration>(), Retry::TOTAL);
        assert_eq!(retry.next_wait(), None);
    }
}
