//! What the Darwin kernel tells: processes, their arguments and open files, and a few facts about this Mac.
//!
//! ```text
//! kernel   (macOS only, the one file with unsafe code)   asks, and gives plain bytes
//!    ▼
//! process, descriptor, arguments, facts                  read the bytes, on every platform
//!    ▼
//! ask      (macOS only)                                  the two together: what `host` calls
//! ```
//!
//! **Invariants.** Readers are bounded and never panic, whatever the bytes: a process writes its own arguments, and the
//! kernel of a later macOS may answer shorter or longer. Nothing here changes anything: no signal, no lock, no file.
//!
//! **Who may call.** `selfsame-host`, and on macOS only. On other systems the readers are compiled for their tests.
//!
//! Layouts are those of `bsd/sys/proc_info.h` and `bsd/kern/kern_sysctl.c` of XNU, unchanged in what is read here from
//! xnu-2050 to xnu-12377. All of them are little-endian: there is no other Mac since 2006. Confidence: high for layouts
//! (source, and compared with the structures of the `libc` crate when compiled for macOS); **no Mac has run this yet**.

mod arguments;
#[cfg(target_os = "macos")]
pub mod ask;
mod bytes;
mod descriptor;
mod facts;
#[cfg(target_os = "macos")]
mod kernel;
mod process;

pub use arguments::Arguments;
pub use descriptor::{Descriptor, OpenVnode, descriptors};
pub use facts::{number, text};
pub use process::{Process, Sketch, pids};
