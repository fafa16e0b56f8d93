//! Why an image is not to be had.

use std::path::PathBuf;

use selfsame_machine::code::Code;
use selfsame_machine::image::checksum::{Checksum, ChecksumError};
use selfsame_machine::image::official;
use selfsame_machine::image::place::{Url, UrlError};
use selfsame_machine::problem::{Hint, Problem, shell_word};

use crate::disk::DiskError;
use crate::files::FileError;

/// A file could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Nobody could be asked.
    #[error("`{url}` cannot be reached")]
    Unreachable {
        /// The address.
        url: Url,
        /// What the client says.
        #[source]
        source: Box<ureq::Error>,
    },
    /// Nothing came any more.
    #[error("nothing came from `{url}` for {seconds} s")]
    Stalled {
        /// The address.
        url: Url,
        /// How long.
        seconds: u64,
    },
    /// The connection ended too early.
    #[error("the connection to `{url}` ended before the file did")]
    Cut {
        /// The address.
        url: Url,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// Who answers speaks no HTTP.
    #[error("the answer of `{url}` is not understood")]
    Garbled {
        /// The address.
        url: Url,
        /// What the client says.
        #[source]
        source: Box<ureq::Error>,
    },
    /// There is no such file.
    #[error("there is nothing at `{url}` (status {status})")]
    Missing {
        /// The address.
        url: Url,
        /// The status.
        status: u16,
    },
    /// Another status than success.
    #[error("the server of `{url}` answers with status {status}")]
    Status {
        /// The address.
        url: Url,
        /// The status.
        status: u16,
    },
    /// It leads on and on.
    #[error("`{url}` leads on and on")]
    Redirects {
        /// The address.
        url: Url,
    },
    /// It leads to where nobody proves who they are.
    #[error("`{url}` leads to `{to}`, which is not encrypted")]
    Downgrade {
        /// The address.
        url: Url,
        /// Where it leads.
        to: Url,
    },
    /// It leads to nothing that can be fetched.
    #[error("`{url}` leads to an address that cannot be used")]
    Location {
        /// The address.
        url: Url,
        /// Why not.
        #[source]
        source: UrlError,
    },
    /// Another part than was asked for.
    #[error("the server of `{url}` gives another part than it was asked for")]
    Range {
        /// The address.
        url: Url,
    },
    /// Larger than is taken.
    #[error("`{url}` is larger than {limit} bytes")]
    TooLarge {
        /// The address.
        url: Url,
        /// The limit.
        limit: u64,
    },
    /// No text where one was to be.
    #[error("`{url}` is no text")]
    NotText {
        /// The address.
        url: Url,
    },
    /// It could not be written.
    #[error(transparent)]
    File(#[from] FileError),
}

impl FetchError {
    /// Whether the same may go well a moment later.
    pub(super) const fn may_pass(&self) -> bool {
        match self {
            Self::Stalled { .. } | Self::Cut { .. } | Self::Range { .. } => true,
            Self::Status { status, .. } => matches!(*status, 429 | 500 | 502 | 503 | 504),
            Self::Unreachable { .. }
            | Self::Garbled { .. }
            | Self::Missing { .. }
            | Self::Redirects { .. }
            | Self::Downgrade { .. }
            | Self::Location { .. }
            | Self::TooLarge { .. }
            | Self::NotText { .. }
            | Self::File(_) => false,
        }
    }
}

/// An image is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// Nothing is called so.
    #[error("there is no image named `{}`", name.escape_debug())]
    Unknown {
        /// What was asked for.
        name: String,
    },
    /// Nothing of that is kept.
    #[error("no image `{}` is kept here", name.escape_debug())]
    NotKept {
        /// What was asked for.
        name: String,
    },
    /// An address that is none.
    #[error("`{}` is no address of an image", text.escape_debug())]
    Url {
        /// The text.
        text: String,
        /// Why not.
        #[source]
        source: UrlError,
    },
    /// It could not be fetched.
    #[error("the image `{}` cannot be fetched", file.display())]
    Fetch {
        /// Where it would have been kept.
        file: PathBuf,
        /// Its address.
        url: Url,
        /// Why not.
        #[source]
        source: FetchError,
    },
    /// The checksum file does not tell.
    #[error("the checksum file `{url}` does not tell the image's hash")]
    Checksums {
        /// Its address.
        url: Url,
        /// Why not.
        #[source]
        source: ChecksumError,
    },
    /// Other bytes than were published.
    #[error("the image from `{url}` has the hash {found}, and not {expected}")]
    Mismatch {
        /// Its address.
        url: Url,
        /// What it should be.
        expected: Checksum,
        /// What it is.
        found: Checksum,
    },
    /// A file with other bytes than were asked for.
    #[error("`{}` has the hash {found}, and not {expected}", file.display())]
    OtherFile {
        /// The file.
        file: PathBuf,
        /// What it should be.
        expected: Checksum,
        /// What it is.
        found: Checksum,
    },
    /// What came is no image.
    #[error("what came from `{url}` is no disk image")]
    NoImage {
        /// Its address.
        url: Url,
        /// Why not.
        #[source]
        source: DiskError,
    },
    /// Somebody fetches it.
    #[error("`{}` is being fetched by another command", file.display())]
    Busy {
        /// Where it will be.
        file: PathBuf,
    },
    /// A file failed.
    #[error(transparent)]
    File(#[from] FileError),
}

impl Problem for ImageError {
    fn code(&self) -> Code {
        match self {
            Self::Unknown { .. } | Self::NotKept { .. } => Code::ImageUnknown,
            Self::Url { .. } => Code::UsageInvalid,
            Self::Fetch { source: FetchError::File(error), .. } => error.code(),
            Self::Fetch { .. } => Code::ImageFetch,
            Self::Checksums { .. } | Self::Mismatch { .. } | Self::OtherFile { .. } => Code::ImageMismatch,
            Self::NoImage { .. } => Code::ImageInvalid,
            Self::Busy { .. } => Code::ImageInUse,
            Self::File(error) => error.code(),
        }
    }

    fn hints(&self) -> Vec<Hint> {
        match self {
            Self::Unknown { name } => {
                let near = official().iter().find(|official| {
                    let stem = official.name.split(['-', '.']).next().unwrap_or_default();
                    name.to_ascii_lowercase().starts_with(stem)
                });
                let near = near.map(|official| Hint::say(format!("there is {}", official.name)));
                near.into_iter().chain([Hint::run("see which there are", "selfsame image list")]).collect()
            }
            Self::NotKept { .. } => vec![Hint::run("see which are kept", "selfsame image list")],
            Self::Url { .. } | Self::Busy { .. } | Self::OtherFile { .. } => Vec::new(),
            Self::Fetch { source: FetchError::File(error), .. } => error.hints(),
            Self::Fetch { file, url, source } => {
                let by_hand = Hint::say(format!(
                    "without a network, fetch {url} elsewhere and put it there as `{}`",
                    file.display()
                ));
                match source {
                    FetchError::Unreachable { .. } | FetchError::Missing { .. } => vec![by_hand],
                    FetchError::Stalled { .. } | FetchError::Cut { .. } | FetchError::Status { .. } => {
                        vec![Hint::say("the same command goes on where this one ended"), by_hand]
                    }
                    FetchError::Downgrade { .. } => {
                        vec![Hint::say("name another address, or fetch it by hand and check it")]
                    }
                    FetchError::Garbled { .. }
                    | FetchError::Redirects { .. }
                    | FetchError::Location { .. }
                    | FetchError::Range { .. }
                    | FetchError::TooLarge { .. }
                    | FetchError::NotText { .. }
                    | FetchError::File(_) => {
                        vec![Hint::say("a proxy or a login page may have answered instead")]
                    }
                }
            }
            Self::Checksums { url, .. } => {
                vec![Hint::run("look at it", format!("curl -L {}", shell_word(url.text())))]
            }
            Self::Mismatch { .. } => vec![Hint::say(
                "it was not kept; try again: a publisher may have exchanged it meanwhile, a mirror may lag behind",
            )],
            Self::NoImage { source, .. } => source.hints(),
            Self::File(error) => error.hints(),
        }
    }
}
