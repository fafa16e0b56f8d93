//! Who a virtual machine is: machine identifiers, what follows from them, and the texts that name them.
//!
//! An [`Identity`] is the decoded value, never the bytes: two files with different bytes can hold one identity, and those
//! two are twins. A [`Blob`] keeps the bytes beside it, so that what was read is written back untouched.
//!
//! **Where the formats come from.** Apple documents neither. They were worked out from blobs that owners published in
//! the configuration files of public tools (tart 2.32, lume, macosvm, the Agoda kubelet, Lima) and from the open
//! source of xnu-11417.101.15; each module says what is certain and what is inferred. Nothing here was run on a Mac.
//!
//! **Invariant.** Readers accept every byte string and answer with findings; writers produce one form only.

mod argument;
mod blob;
mod decode;
mod digest;
mod ecid;
mod encode;
mod finding;
mod generic;
mod hardware_model;
mod kind;
mod layout;
mod mac_address;
mod predict;
mod show;
mod value;

pub use argument::{ArgumentError, PREFIXES, parse_base64, parse_prefixed};
pub use blob::{Blob, BlobError};
pub use digest::{Digest, DigestError};
pub use ecid::Ecid;
pub use finding::{Finding, FindingCode, Severity};
pub use generic::{GenericId, GenericIdError};
pub use hardware_model::HardwareModel;
pub use kind::{Kind, UnknownKind};
pub use mac_address::{MacAddress, MacAddressError};
pub use predict::{Confidence, Prediction, Predictions};
pub use show::Shown;
pub use value::Identity;

/// The longest input that a reader looks at; real blobs have 60 to 200 bytes.
pub const MAX_BLOB: usize = 64 * 1024;
