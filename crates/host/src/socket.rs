//! Unix stream sockets in a folder of ours, however long the folder's path is.
//!
//! A socket's path may have 107 bytes on Linux and 103 on macOS. Where it would have more, the folder is opened and the
//! socket named through another path to it, so that only the short name counts: `/proc/self/fd/N` on Linux,
//! `/.vol/DEVICE/INODE` on macOS (XNU, `bsd/vfs/vfs_lookup.c`, `vfs_getrealpath`; confidence medium: no Mac has run it).
//! The plain path is preferred: whoever inherits a listening socket (QEMU) removes the name it was bound to, literally,
//! when it ends.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType};

/// An opened folder of sockets.
#[derive(Debug)]
pub struct SocketFolder {
    descriptor: OwnedFd,
    path: PathBuf,
}

/// The longest path of a socket: 108 bytes with the final NUL on Linux (unix(7)), 104 on macOS (`sys/un.h`).
const LONGEST: usize = if cfg!(target_os = "macos") { 103 } else { 107 };

impl SocketFolder {
    /// Opens the folder.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let descriptor = rustix::fs::open(folder, flags, Mode::empty())?;
        Ok(Self { descriptor, path: std::path::absolute(folder)? })
    }

    /// Listens at a name, replacing what a dead predecessor left there.
    ///
    /// # Errors
    /// What the system says.
    pub fn listen(&self, name: &str) -> io::Result<UnixListener> {
        self.remove(name)?;
        UnixListener::bind(self.address(name))
    }

    /// Takes datagrams at a name, replacing what a dead predecessor left there.
    ///
    /// # Errors
    /// What the system says.
    pub fn receive(&self, name: &str) -> io::Result<UnixDatagram> {
        self.remove(name)?;
        UnixDatagram::bind(self.address(name))
    }

    /// Connects to a name; `None` when nobody listens there.
    ///
    /// # Errors
    /// What the system says otherwise.
    pub fn connect(&self, name: &str) -> io::Result<Option<UnixStream>> {
        match UnixStream::connect(self.address(name)) {
            Ok(stream) => Ok(Some(stream)),
            Err(error)
                if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Connects to a name without ever waiting, and gives a stream that does not wait either; `None` when nobody listens
    /// there. [`UnixStream::connect`] waits where as many others wait as the listener lets.
    ///
    /// # Errors
    /// `WouldBlock` in that case; else what the system says.
    pub fn connect_now(&self, name: &str) -> io::Result<Option<UnixStream>> {
        let address = SocketAddrUnix::new(self.address(name))?;
        let socket = unblocked()?;
        match rustix::net::connect(&socket, &address) {
            Ok(()) => Ok(Some(UnixStream::from(socket))),
            Err(Errno::NOENT | Errno::CONNREFUSED) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes a name; a missing one is no error.
    ///
    /// # Errors
    /// What the system says otherwise.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        match rustix::fs::unlinkat(&self.descriptor, name, AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn address(&self, name: &str) -> PathBuf {
        let path = self.path.join(name);
        if path.as_os_str().len() <= LONGEST {
            return path;
        }
        self.short().unwrap_or_else(|| self.path.clone()).join(name)
    }

    /// Another path to the folder, of at most 40 bytes.
    #[cfg(target_os = "linux")]
    fn short(&self) -> Option<PathBuf> {
        use std::os::fd::AsRawFd as _;
        Some(PathBuf::from(format!("/proc/self/fd/{}", self.descriptor.as_raw_fd())))
    }

    /// Another path to the folder, of at most 40 bytes.
    #[cfg(target_os = "macos")]
    fn short(&self) -> Option<PathBuf> {
        let stat = rustix::fs::fstat(&self.descriptor).ok()?;
        let (device, inode) = crate::files::device_and_inode(&stat);
        Some(PathBuf::from(format!("/.vol/{device}/{inode}")))
    }
}

/// A stream socket that does not wait, and that no child inherits.
#[cfg(target_os = "linux")]
fn unblocked() -> io::Result<OwnedFd> {
    let flags = rustix::net::SocketFlags::CLOEXEC | rustix::net::SocketFlags::NONBLOCK;
    Ok(rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?)
}

/// A stream socket that does not wait, and that no child inherits.
#[cfg(target_os = "macos")]
fn unblocked() -> io::Result<OwnedFd> {
    let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None)?;
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&socket, true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    #[test]
    fn a_long_path_is_no_obstacle() {
        let root = tempfile::tempdir().unwrap();
        let long = root.path().join("x".repeat(200));
        std::fs::create_dir(&long).unwrap();
        let folder = SocketFolder::open(&long).unwrap();
        assert!(folder.connect("a").unwrap().is_none());
        drop(folder.listen("a").unwrap());
        assert!(folder.connect("a").unwrap().is_none(), "nobody listens at what a dead one left");
        let listener = folder.listen("a").unwrap();
        let mut client = folder.connect("a").unwrap().unwrap();
        let (mut server, _) = listener.accept().unwrap();
        client.write_all(b"x").unwrap();
        let mut byte = [0];
        server.read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"x");
    }
}
