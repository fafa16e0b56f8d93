//! The second line of a claim: what holds when the folder of lock files was wiped.
//!
//! | | Linux | macOS (experimental: no Mac has run it) |
//! |---|---|---|
//! | what | an abstract unix name, bound | the titles and arguments of running supervisors |
//! | lives as long as | any process that inherited it | the supervisor itself |
//! | seen by | all users of the network namespace | the same user, and root (XNU, `sysctl_procargsx`) |
//!
//! Where another user's supervisor cannot be seen, the lock file is the only line.
//!
//! **Who may call.** [`super::claim`] alone.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "macos")]
mod macos;
mod title;

#[cfg(target_os = "linux")]
pub(super) use linux::{Asker, Second, take};
#[cfg(target_os = "macos")]
pub(super) use macos::{Asker, Second, take};
pub use title::supervised_folder;
