//! Everything that touches the framework. See the crate's documentation for the rules that hold here.

mod backend;
mod configuration;
mod delegate;
mod entitlement;
mod error;
mod facts;
mod identifier;
mod machine;
mod queue;

pub use backend::Vz;
pub use entitlement::entitled;
pub use facts::{Facts, facts};
pub use identifier::{fresh_identifier, written_back};

use std::path::Path;

use objc2::rc::Retained;
use objc2_foundation::{NSString, NSURL};

/// A file's URL. The path is text: a plan sees to that.
fn file_url(path: &Path) -> Retained<NSURL> {
    NSURL::fileURLWithPath(&NSString::from_str(&path.to_string_lossy()))
}
