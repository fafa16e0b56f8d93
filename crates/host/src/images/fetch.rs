//! Fetching one file into a `.part` beside its place, from where an earlier try ended.
//!
//! ```text
//! NAME.part        what there is of it
//! NAME.part.toml   the address, and what tells this version from another (ETag, else the day of its last change)
//! ```
//!
//! **Invariant:** a part is only ever continued with bytes of the same version of the same address: the server is asked
//! with `If-Range`, and what it says of the whole length must not have changed. Else it begins anew.
//!
//! Only who holds the image's lock may call.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use selfsame_machine::image::place::Url;
use serde::{Deserialize, Serialize};

use super::http::{Client, From};
use super::{FetchError, Progress};
use crate::files::{FileError, read_bounded, write_atomically};

/// No image is larger: a server that sends on and on must not fill any disk there is.
pub(super) const LIMIT: u64 = 256 << 30;
/// So often is tried again after a try that brought nothing new.
const TRIES: u32 = 3;
/// Before it is tried again, times the number of the try.
const PAUSE: Duration = Duration::from_secs(1);
const BUFFER: usize = 256 * 1024;
/// The stamp of a part has a few hundred bytes.
const STAMP: u64 = 16 * 1024;

/// What is known of a part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    url: String,
    validator: Option<String>,
    total: Option<u64>,
}

/// One fetch.
pub(super) struct Fetch<'a> {
    pub(super) client: &'a Client,
    pub(super) url: &'a Url,
    pub(super) part: PathBuf,
    pub(super) limit: u64,
}

impl Fetch<'_> {
    fn stamp_path(&self) -> PathBuf {
        let mut path = self.part.clone().into_os_string();
        path.push(".toml");
        path.into()
    }

    /// Removes what there is of it.
    pub(super) fn forget(&self) {
        // What is not there need not go, and what cannot go is written over.
        drop(std::fs::remove_file(&self.part));
        drop(std::fs::remove_file(self.stamp_path()));
    }

    /// Forgets what was known of a part that is whole by now.
    pub(super) fn settle(&self) {
        drop(std::fs::remove_file(self.stamp_path()));
    }

    /// Fetches until the part is the whole file.
    pub(super) fn run(&self, watch: &mut dyn FnMut(Progress<'_>)) -> Result<(), FetchError> {
        let mut failed = 0;
        loop {
            let before = self.length();
            let error = match self.once(watch) {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            if matches!(error, FetchError::Range { .. }) {
                self.forget();
            }
            failed = if self.length() > before { 0 } else { failed + 1 };
            if !error.may_pass() || failed >= TRIES {
                return Err(error);
            }
            watch(Progress::Again { error: &error });
            std::thread::sleep(PAUSE * failed);
        }
    }

    fn length(&self) -> u64 {
        std::fs::metadata(&self.part).map_or(0, |metadata| metadata.len())
    }

    /// What of an earlier try can be continued.
    fn stamp(&self) -> Option<Stamp> {
        let bytes = read_bounded(&self.stamp_path(), STAMP).ok()?;
        let stamp: Stamp = toml::from_str(std::str::from_utf8(&bytes).ok()?).ok()?;
        (stamp.url == self.url.text()).then_some(stamp)
    }

    /// One try.
    fn once(&self, watch: &mut dyn FnMut(Progress<'_>)) -> Result<(), FetchError> {
        let known = self.stamp();
        let there = self.length();
        if known.as_ref().is_some_and(|stamp| stamp.total == Some(there)) {
            return Ok(());
        }
        let from = known
            .as_ref()
            .and_then(|stamp| stamp.validator.clone())
            .filter(|_| there > 0)
            .map(|validator| From { offset: there, validator });
        let mut answer = self.client.get(self.url, from.as_ref())?;
        let stamp = Stamp {
            url: self.url.text().to_owned(),
            validator: answer.validator.take(),
            total: answer.total,
        };
        if answer.offset > 0 && known.as_ref() != Some(&stamp) {
            return Err(FetchError::Range { url: self.url.clone() });
        }
        if answer.total.is_some_and(|total| total > self.limit) {
            return Err(self.too_large());
        }
        let failed = |path: &Path| FileError::failed("write", path);
        let mut options = File::options();
        let opened = options.write(true).create(true).truncate(false).open(&self.part);
        let mut file = opened.map_err(failed(&self.part))?;
        if answer.offset == 0 {
            // The old bytes go before the new stamp comes: a stamp never stands beside another version's bytes.
            file.set_len(0).map_err(failed(&self.part))?;
            let text = toml::to_string(&stamp).unwrap_or_default();
            write_atomically(&self.stamp_path(), text.as_bytes())?;
        }
        file.seek(SeekFrom::Start(answer.offset)).map_err(failed(&self.part))?;
        watch(Progress::Began { at: answer.offset, total: answer.total });
        let mut at = answer.offset;
        let mut buffer = vec![0; BUFFER];
        loop {
            let count = match answer.body.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) => return Err(self.client.failure(self.url, error.into())),
            };
            at += u64::try_from(count).unwrap_or(u64::MAX);
            if at > self.limit || answer.total.is_some_and(|total| at > total) {
                self.forget();
                return Err(self.too_large());
            }
            file.write_all(buffer.get(..count).unwrap_or_default()).map_err(failed(&self.part))?;
            watch(Progress::At { at });
        }
        if answer.total.is_some_and(|total| at < total) {
            let source = std::io::ErrorKind::UnexpectedEof.into();
            return Err(FetchError::Cut { url: self.url.clone(), source });
        }
        file.sync_all().map_err(failed(&self.part))?;
        Ok(())
    }

    fn too_large(&self) -> FetchError {
        FetchError::TooLarge { url: self.url.clone(), limit: self.limit }
    }
}
