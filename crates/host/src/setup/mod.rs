//! What selfsame has put on this computer for one user, and how it comes and goes.
//!
//! ```text
//! status      what there is, where, and how large: looks, changes nothing
//! autostart   a unit of the user's own service manager that runs `selfsame autostart` (systemd; nothing else yet)
//! uninstall   everything of the home, but for the VMs and the library where they are to stay
//! ```
//!
//! **Who may call.** The command line. **Invariants.** Nothing outside of the home is removed but the unit, and the unit
//! only if it is ours ([`unit::is_ours`]). Nothing is removed while anything of a VM runs, or while a protected VM would go
//! with it. The program itself, its manual pages and completions belong to whoever installed them; the folder of locks
//! belongs to all users.

mod removal;
mod status;
mod unit;

pub use removal::{Removal, plan};
pub use status::{Item, Presence, status};
pub use unit::{Autostart, UnitError, disable, enable, find as find_autostart};
