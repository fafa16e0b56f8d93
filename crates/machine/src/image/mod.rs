//! Images to log in to that others publish: which there are, and what their checksum files say.

mod catalogue;
pub mod checksum;
pub mod place;

pub use catalogue::{Official, Published, find, official};
