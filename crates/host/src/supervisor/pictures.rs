//! Pictures of the guest's screen on their way from the back end to those who asked.
//!
//! A picture is a file without a name in `run/`: whatever is killed in between, nothing is left behind. What the back end
//! writes is bounded before anybody is sent it.

use std::fs::File;
use std::path::PathBuf;

use selfsame_machine::backend::Backend;
use selfsame_machine::code::Code;
use selfsame_machine::problem::{Hint, Problem, Report};

use super::client::PICTURE_LIMIT as LARGEST;
use crate::files::FileError;

/// So many are made at a time.
const PICTURES: usize = 16;

/// Why there is no picture.
#[derive(Debug, thiserror::Error)]
enum PictureError {
    #[error("the guest has no screen")]
    NoScreen,
    #[error("{PICTURES} pictures of its screen are being made already")]
    Busy,
    #[error("the picture of its screen has {0} bytes, and at most {LARGEST} are taken")]
    Size(u64),
}

impl Problem for PictureError {
    fn code(&self) -> Code {
        match self {
            Self::NoScreen | Self::Busy => Code::RequestDenied,
            Self::Size(_) => Code::QemuFailed,
        }
    }

    fn hints(&self) -> Vec<Hint> {
        match self {
            Self::NoScreen => {
                vec![Hint::say("give it one with `selfsame set --display vga`, from its next start on")]
            }
            Self::Busy => vec![Hint::say("wait for one of them")],
            Self::Size(_) => Vec::new(),
        }
    }
}

/// A picture with its size in bytes, or why there is none.
pub(super) type Outcome = Result<(File, u64), Report>;

/// The pictures that are being made.
#[derive(Debug)]
pub(super) struct Pictures {
    /// Where their files lie as long as they have names.
    folder: PathBuf,
    has_screen: bool,
    begun: Vec<(u64, File)>,
}

impl Pictures {
    pub(super) const fn new(folder: PathBuf, has_screen: bool) -> Self {
        Self { folder, has_screen, begun: Vec::new() }
    }

    /// Has one made, and gives the number by which [`Pictures::take`] tells of it.
    pub(super) fn begin(&mut self, guest: &mut impl Backend) -> Result<u64, Report> {
        if !self.has_screen {
            return Err(PictureError::NoScreen.into());
        }
        if self.begun.len() >= PICTURES {
            return Err(PictureError::Busy.into());
        }
        let failed = || FileError::failed("make a file in", &self.folder);
        let file = tempfile::NamedTempFile::new_in(&self.folder).map_err(failed())?;
        // QEMU takes a descriptor for what it wants to do with it, and no other.
        let writing = File::options().write(true).open(file.path()).map_err(failed())?;
        let number = guest.picture(&writing).map_err(|error| Report::of(&error))?;
        let number = number.ok_or(PictureError::NoScreen)?;
        self.begun.push((number, file.into_file()));
        Ok(number)
    }

    /// The pictures that are made, with their sizes, or why they are not.
    pub(super) fn take(&mut self, guest: &mut impl Backend) -> Vec<(u64, Outcome)> {
        let mut taken = Vec::new();
        for (number, outcome) in guest.take_pictures() {
            let Some(index) = self.begun.iter().position(|(begun, _)| *begun == number) else { continue };
            let (_, file) = self.begun.swap_remove(index);
            taken.push((number, outcome.and_then(|()| measured(file))));
        }
        taken
    }
}

fn measured(file: File) -> Outcome {
    let size = file.metadata().map_or(0, |metadata| metadata.len());
    if size == 0 || size > LARGEST { Err(PictureError::Size(size).into()) } else { Ok((file, size)) }
}
