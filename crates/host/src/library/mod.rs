//! The VMs and identities of this user, found on the disk and remembered in the store.
//!
//! **The folder is the VM.** The store only remembers what was read, keyed by folder and by what `stat` said of the small
//! files; a folder that was put, changed or copied by hand is seen by the next command.

pub mod change;
mod create;
mod delete;
mod find;
mod fresh;
mod identities;
mod index;
mod keys;
mod list;
mod one_run;
mod rename;
mod state;

pub use create::{Created, DiskSource, FirstStart, NewBoot, NewVm, check_free, create};
pub(crate) use delete::is_protected;
pub use delete::{Deleted, delete, find_deletable};
pub use find::{FindError, find};
pub use fresh::{FreshError, fresh_identity, fresh_mac};
pub use identities::{ArgumentProblem, Known, read_identifier, resolve};
pub use index::{folders_in, refresh};
pub use keys::{FirstStartError, read_keys, read_user_data, usual_keys};
pub use list::{Activity, Glimpse, Listed, glance, list};
pub(crate) use one_run::forget_owner;
pub use one_run::{Base, OneRun, leftovers};
pub use rename::{Renamed, rename};
pub use state::VmState;
