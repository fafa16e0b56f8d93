//! Images that others publish, fetched once and kept in `$SELFSAME_HOME/images/`.
//!
//! ```text
//! NAME         the image: whole, and checked where its publisher says a hash
//! NAME.toml    where it came from, its hash, and who vouches for it; missing for one that was put there by hand
//! NAME.part    what there is of one that is being fetched, with its stamp NAME.part.toml
//! .NAME.lock   held by whoever fetches or deletes it
//! ```
//!
//! **Invariants.**
//! - An image is there whole or not at all: its `.part` is renamed once it was checked.
//! - Of two commands that want one image, one fetches and the other waits, and then takes what is there.
//! - Nothing is ever taken of what did not have the hash that it should have.
//!
//! **Who may call.** Commands; a supervisor never fetches.

mod fetch;
mod http;
mod kept;
mod problem;
#[cfg(test)]
mod tests;

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use selfsame_machine::architecture::Architecture;
use selfsame_machine::image::checksum::{self, Checksum};
use selfsame_machine::image::place::{Url, file_name};
use selfsame_machine::image::{Official, Published, find};
use sha2::{Digest as _, Sha256, Sha512};

pub use kept::{Here, Kept, Vouched};
pub use problem::{FetchError, ImageError};

use crate::disk;
use crate::files::{FileError, write_atomically};
use crate::home::Home;
use crate::time::Time;
use fetch::Fetch;
use http::Client;

/// What somebody means by an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A name of the table.
    Official(&'static Official),
    /// An address.
    Address(Url),
    /// A file of their own.
    File(PathBuf),
}

impl Source {
    /// Reads what somebody typed. A name of the table is that, whatever lies in the working folder; what holds `://` is
    /// an address; what holds a `/`, or is there, is a file.
    ///
    /// # Errors
    /// When it is none of them.
    pub fn of(text: &OsStr) -> Result<Self, ImageError> {
        let lossy = text.to_string_lossy();
        if let Some(official) = find(&lossy) {
            return Ok(Self::Official(official));
        }
        if lossy.contains("://") {
            return match lossy.parse() {
                Ok(url) => Ok(Self::Address(url)),
                Err(source) => Err(ImageError::Url { text: lossy.into_owned(), source }),
            };
        }
        let path = Path::new(text);
        if lossy.contains('/') || std::fs::symlink_metadata(path).is_ok() {
            return Ok(Self::File(path.to_owned()));
        }
        Err(ImageError::Unknown { name: lossy.into_owned() })
    }
}

/// The file of an official image for a kind of guest.
#[must_use]
pub const fn published(official: &Official, architecture: Architecture) -> Published {
    match architecture {
        Architecture::X86_64 => official.x86_64,
        Architecture::Aarch64 => official.aarch64,
    }
}

/// How a fetch goes on.
#[derive(Debug)]
pub enum Progress<'a> {
    /// Another command fetches it; this one waits.
    Waiting,
    /// It begins.
    Began {
        /// How much there is already.
        at: u64,
        /// How much there will be, where that is known.
        total: Option<u64>,
    },
    /// It goes on.
    At {
        /// How much there is.
        at: u64,
    },
    /// It failed, and is tried again.
    Again {
        /// Why.
        error: &'a FetchError,
    },
    /// All is there, and is read to check it.
    Checking,
}

/// An image that is here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Got {
    /// Where.
    pub path: PathBuf,
    /// Who says that it is what it should be.
    pub vouched: Vouched,
    /// Whether it had to be fetched.
    pub fetched: bool,
}

/// What to get.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Where it is published.
    pub url: &'a Url,
    /// The address of the checksum file that tells its hash, and its name there.
    pub checksums: Option<(&'a Url, &'a str)>,
    /// The hash that somebody asks for.
    pub checksum: Option<&'a Checksum>,
    /// Whether to ask for a newer one although one is here.
    pub renew: bool,
}

/// The images of a home.
#[derive(Debug)]
pub struct Images {
    folder: PathBuf,
    client: Client,
    limit: u64,
}

impl Images {
    /// Those of this home. Nothing is made.
    #[must_use]
    pub fn of(home: &Home) -> Self {
        Self { folder: home.images(), client: Client::new(), limit: fetch::LIMIT }
    }

    /// Where the image from this address is kept.
    #[must_use]
    pub fn place(&self, url: &Url) -> PathBuf {
        self.folder.join(file_name(url))
    }

    /// Gives an official image or one of an address, and fetches it if need be.
    ///
    /// # Errors
    /// When it is not to be had, or is not what it should be.
    pub fn get(
        &self,
        source: &Source,
        architecture: Architecture,
        checksum: Option<&Checksum>,
        renew: bool,
        watch: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Got, ImageError> {
        match source {
            Source::File(path) => {
                let vouched = match checksum {
                    Some(expected) => {
                        let found = hash(path, expected)?;
                        if found != *expected {
                            let (file, expected) = (path.clone(), expected.clone());
                            return Err(ImageError::OtherFile { file, expected, found });
                        }
                        Vouched::ByCaller
                    }
                    None => Vouched::Nobody,
                };
                Ok(Got { path: path.clone(), vouched, fetched: false })
            }
            Source::Address(url) => self.obtain(Wanted { url, checksums: None, checksum, renew }, watch),
            Source::Official(official) => {
                let published = published(official, architecture);
                let parse = |text: String| -> Result<Url, ImageError> {
                    text.parse().map_err(|source| ImageError::Url { text, source })
                };
                let (url, checksums) = (parse(published.url())?, parse(published.checksums_url())?);
                let checksums = Some((&checksums, published.file));
                self.obtain(Wanted { url: &url, checksums, checksum, renew }, watch)
            }
        }
    }

    /// Gives the image of an address, and fetches it if need be.
    ///
    /// # Errors
    /// When it is not to be had, or is not what it should be.
    pub fn obtain(&self, wanted: Wanted<'_>, watch: &mut dyn FnMut(Progress<'_>)) -> Result<Got, ImageError> {
        let path = self.place(wanted.url);
        if !wanted.renew
            && let Some(got) = self.present(&path, wanted)?
        {
            return Ok(got);
        }
        std::fs::create_dir_all(&self.folder).map_err(FileError::failed("make", &self.folder))?;
        let before = std::fs::metadata(&path).and_then(|metadata| metadata.modified()).ok();
        let (_lock, waited) = self.lock(&path, watch)?;
        let now = std::fs::metadata(&path).and_then(|metadata| metadata.modified()).ok();
        if (!wanted.renew || (waited && now != before))
            && let Some(got) = self.present(&path, wanted)?
        {
            return Ok(got);
        }
        let fetch_failed = |source| ImageError::Fetch { file: path.clone(), url: wanted.url.clone(), source };
        let (expected, vouched) = match (wanted.checksum, wanted.checksums) {
            (Some(checksum), _) => (Some(checksum.clone()), Vouched::ByCaller),
            (None, Some((url, file))) => {
                let text = self.client.text(url, checksum::LIMIT).map_err(fetch_failed)?;
                let found = checksum::find(&text, file);
                let found = found.map_err(|source| ImageError::Checksums { url: url.clone(), source })?;
                (Some(found), Vouched::ByPublisher)
            }
            (None, None) => (None, Vouched::Nobody),
        };
        // The newest is here already.
        if wanted.renew
            && let Some(kept) = Kept::read(&path)
            && kept.vouched == Vouched::ByPublisher
            && expected.is_some()
            && kept.checksum == expected
        {
            return Ok(Got { path, vouched, fetched: false });
        }
        let part = with_suffix(&path, ".part");
        let fetch = Fetch { client: &self.client, url: wanted.url, part: part.clone(), limit: self.limit };
        fetch.run(watch).map_err(fetch_failed)?;
        watch(Progress::Checking);
        let like = expected.clone().unwrap_or(Checksum::Sha256(Box::default()));
        let found = hash(&part, &like)?;
        if let Some(expected) = expected
            && expected != found
        {
            fetch.forget();
            return Err(ImageError::Mismatch { url: wanted.url.clone(), expected, found });
        }
        if let Err(source) = disk::inspect(&part) {
            fetch.forget();
            return Err(ImageError::NoImage { url: wanted.url.clone(), source });
        }
        let kept = Kept {
            schema: kept::SCHEMA,
            url: wanted.url.text().to_owned(),
            checksum: Some(found),
            vouched,
            fetched: Time::now().to_string(),
        };
        // An older one goes first: nobody may take it for what is said of the new one. Then what is said of it: an image
        // without is one that somebody put there.
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(FileError::failed("remove", &path)(error).into());
            }
            Ok(()) | Err(_) => {}
        }
        write_atomically(&with_suffix(&path, ".toml"), kept.write().as_bytes())?;
        std::fs::rename(&part, &path).map_err(FileError::failed("make", &path))?;
        let synced = File::open(&self.folder).and_then(|folder| folder.sync_all());
        synced.map_err(FileError::failed("sync", &self.folder))?;
        fetch.settle();
        Ok(Got { path, vouched, fetched: true })
    }

    /// The image as it is here, if it is.
    fn present(&self, path: &Path, wanted: Wanted<'_>) -> Result<Option<Got>, ImageError> {
        if std::fs::symlink_metadata(path).is_err() {
            return Ok(None);
        }
        let kept = Kept::read(path);
        let vouched = match (wanted.checksum, &kept) {
            (Some(expected), kept) => {
                let known = kept.as_ref().and_then(|kept| kept.checksum.as_ref());
                // Digits of the other algorithm prove nothing; then it is read.
                let found = match known.filter(|known| known.algorithm() == expected.algorithm()) {
                    Some(known) => known.clone(),
                    None => hash(path, expected)?,
                };
                if found != *expected {
                    let (url, expected) = (wanted.url.clone(), expected.clone());
                    return Err(ImageError::Mismatch { url, expected, found });
                }
                Vouched::ByCaller
            }
            (None, Some(kept)) => kept.vouched,
            (None, None) => Vouched::Nobody,
        };
        Ok(Some(Got { path: path.to_owned(), vouched, fetched: false }))
    }

    /// Waits until nobody else fetches or deletes it.
    fn lock(&self, path: &Path, watch: &mut dyn FnMut(Progress<'_>)) -> Result<(File, bool), ImageError> {
        let (lock, failed) = self.open_lock(path)?;
        match lock.try_lock() {
            Ok(()) => Ok((lock, false)),
            Err(std::fs::TryLockError::WouldBlock) => {
                watch(Progress::Waiting);
                lock.lock().map_err(FileError::failed("lock", &failed))?;
                Ok((lock, true))
            }
            Err(std::fs::TryLockError::Error(error)) => Err(FileError::failed("lock", &failed)(error).into()),
        }
    }

    fn open_lock(&self, path: &Path) -> Result<(File, PathBuf), ImageError> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let lock = self.folder.join(format!(".{name}.lock"));
        let mut options = File::options();
        let opened = options.write(true).create(true).truncate(false).open(&lock);
        Ok((opened.map_err(FileError::failed("lock", &lock))?, lock))
    }
}

/// The path with more behind its name.
fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// The hash of a whole file, by the algorithm of `like`.
fn hash(path: &Path, like: &Checksum) -> Result<Checksum, FileError> {
    let mut file = File::open(path).map_err(FileError::failed("read", path))?;
    let mut buffer = vec![0; 256 * 1024];
    let (mut short, mut long) = (Sha256::new(), Sha512::new());
    loop {
        let count = file.read(&mut buffer).map_err(FileError::failed("read", path))?;
        let read = buffer.get(..count).unwrap_or_default();
        match like {
            _ if read.is_empty() => break,
            Checksum::Sha256(_) => short.update(read),
            Checksum::Sha512(_) => long.update(read),
        }
    }
    Ok(match like {
        Checksum::Sha256(_) => Checksum::Sha256(Box::new(short.finalize().into())),
        Checksum::Sha512(_) => Checksum::Sha512(Box::new(long.finalize().into())),
    })
}
