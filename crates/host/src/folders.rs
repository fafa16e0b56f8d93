//! Folders of the host that a guest may use: which may be shared, and which a run has.
//!
//! A path is resolved once, when somebody names it, and kept as what it led to. A start looks again: what leads elsewhere
//! by then, through a link that was put there meanwhile, is refused.
//!
//! **Invariant.** What a guest could become another VM by is never shared: selfsame's own folder, a folder with that in it,
//! and a VM's folder.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};

use selfsame_machine::code::Code;
use selfsame_machine::problem::{Hint, Problem, shell_word};
use selfsame_machine::spec::Folder;
use selfsame_machine::spec::folder::{MOST_FOLDERS, Request, RequestError, tag_for};

use crate::bundle::IDENTIFIER;
use crate::home::Home;

/// A folder that is not shared.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Its text names none.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// Its name is no text.
    #[error("`{}` cannot be shared: its path is no UTF-8", path.display())]
    NotText {
        /// The path.
        path: PathBuf,
    },
    /// It is not there, or is no folder.
    #[error("`{}` cannot be shared", path.display())]
    Unusable {
        /// The path.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It leads elsewhere than when it was named.
    #[error("`{}` cannot be shared: it leads to `{}` now", path.display(), to.display())]
    Moved {
        /// The path.
        path: PathBuf,
        /// What it leads to.
        to: PathBuf,
    },
    /// selfsame's own folder is in it, or it in that.
    #[error("`{}` cannot be shared: it would open selfsame's own folder `{}` to a guest", path.display(), home.display())]
    Home {
        /// The path.
        path: PathBuf,
        /// selfsame's folder.
        home: PathBuf,
    },
    /// It belongs to a VM.
    #[error("`{}` cannot be shared: it belongs to the VM in `{}`", path.display(), vm.display())]
    Vm {
        /// The path.
        path: PathBuf,
        /// The VM's folder.
        vm: PathBuf,
    },
    /// Two have one tag.
    #[error("two folders have the tag `{tag}`")]
    Twice {
        /// The tag.
        tag: String,
    },
    /// More than a VM can have.
    #[error("{count} folders are more than the {MOST_FOLDERS} that a VM can have")]
    TooMany {
        /// How many.
        count: usize,
    },
}

impl Problem for FolderError {
    fn code(&self) -> Code {
        match self {
            Self::Request(_) | Self::Twice { .. } | Self::TooMany { .. } => Code::UsageInvalid,
            Self::NotText { .. }
            | Self::Unusable { .. }
            | Self::Moved { .. }
            | Self::Home { .. }
            | Self::Vm { .. } => Code::FolderRefused,
        }
    }

    fn hints(&self) -> Vec<Hint> {
        let look = |path: &Path| {
            let path = shell_word(&path.to_string_lossy()).into_owned();
            Hint::run("look at it", format!("ls -ld {path}"))
        };
        match self {
            Self::Request(_) | Self::TooMany { .. } => Vec::new(),
            Self::NotText { .. } => vec![Hint::say("rename it, or bind-mount it under a plain name")],
            Self::Unusable { path, .. } => vec![look(path)],
            Self::Moved { path, .. } => {
                vec![look(path), Hint::say("if that is meant, name it anew with `run --dir` or `set --dir`")]
            }
            Self::Home { .. } | Self::Vm { .. } => vec![Hint::say("share a folder beside it")],
            Self::Twice { .. } => vec![Hint::say("name each: `--dir TAG:PATH`")],
        }
    }
}

/// What people asked for, resolved, each with a tag of its own.
///
/// # Errors
/// The first that cannot be shared.
pub fn asked(home: &Home, texts: &[OsString]) -> Result<Vec<Folder>, FolderError> {
    let requests = texts.iter().map(|text| request(text)).collect::<Result<Vec<_>, _>>()?;
    if requests.len() > MOST_FOLDERS {
        return Err(FolderError::TooMany { count: requests.len() });
    }
    // Tags that were said come first: one that is made up gives way to them, whatever the order.
    let mut taken: Vec<String> = requests.iter().filter_map(|request| request.tag.clone()).collect();
    let mut folders = Vec::new();
    for request in requests {
        let path = Path::new(&request.path).canonicalize();
        let path =
            path.map_err(|source| FolderError::Unusable { path: request.path.clone().into(), source })?;
        may_be_shared(home, &path)?;
        let Ok(path) = path.clone().into_os_string().into_string() else {
            return Err(FolderError::NotText { path });
        };
        let tag = request.tag.unwrap_or_else(|| {
            let tag = tag_for(&path, |tag| taken.iter().any(|other| other == tag));
            taken.push(tag.clone());
            tag
        });
        folders.push(Folder { tag, path, read_only: request.read_only });
    }
    if let Some(tag) = twice(&folders) {
        return Err(FolderError::Twice { tag });
    }
    Ok(folders)
}

fn request(text: &OsStr) -> Result<Request, FolderError> {
    let text = text.to_str().ok_or_else(|| FolderError::NotText { path: text.into() })?;
    Ok(text.parse()?)
}

fn twice(folders: &[Folder]) -> Option<String> {
    let is_twice = |(index, folder): (usize, &Folder)| {
        folders.iter().take(index).any(|before| before.tag == folder.tag).then(|| folder.tag.clone())
    };
    folders.iter().enumerate().find_map(is_twice)
}

/// The folders of one run: those of the VM, and over them, by tag, those of this run alone. All are looked at again.
///
/// # Errors
/// The first that cannot be shared any more.
pub fn of_run(home: &Home, of_vm: &[Folder], of_run: &[Folder]) -> Result<Vec<Folder>, FolderError> {
    let replaced = |folder: &&Folder| !of_run.iter().any(|other| other.tag == folder.tag);
    let folders: Vec<Folder> = of_vm.iter().filter(replaced).chain(of_run).cloned().collect();
    if folders.len() > MOST_FOLDERS {
        return Err(FolderError::TooMany { count: folders.len() });
    }
    for folder in &folders {
        let path = Path::new(&folder.path);
        let to =
            path.canonicalize().map_err(|source| FolderError::Unusable { path: path.to_owned(), source })?;
        if to != path {
            return Err(FolderError::Moved { path: path.to_owned(), to });
        }
        may_be_shared(home, &to)?;
    }
    Ok(folders)
}

/// The rule; `path` is resolved.
fn may_be_shared(home: &Home, path: &Path) -> Result<(), FolderError> {
    if !path.is_dir() {
        let source = io::ErrorKind::NotADirectory.into();
        return Err(FolderError::Unusable { path: path.to_owned(), source });
    }
    let own = home.root().canonicalize().unwrap_or_else(|_| home.root().to_owned());
    if path.starts_with(&own) || own.starts_with(path) {
        return Err(FolderError::Home { path: path.to_owned(), home: own });
    }
    match path.ancestors().find(|folder| folder.join(IDENTIFIER).is_file()) {
        Some(vm) => Err(FolderError::Vm { path: path.to_owned(), vm: vm.to_owned() }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A home in a folder with other folders.
    fn world() -> (tempfile::TempDir, Home, PathBuf) {
        let world = tempfile::tempdir().unwrap();
        let root = world.path().canonicalize().unwrap();
        let home = root.join("me/home");
        std::fs::create_dir_all(&home).unwrap();
        let place = home.clone().into_os_string();
        let home = Home::locate(&|name| (name == "SELFSAME_HOME").then(|| place.clone())).unwrap();
        for folder in ["src", "x/src", "a b", "far.vm/deep", "me/home/vms/web1.vm"] {
            std::fs::create_dir_all(root.join(folder)).unwrap();
        }
        std::fs::write(root.join("far.vm").join(IDENTIFIER), "x").unwrap();
        std::fs::write(root.join("file"), "x").unwrap();
        (world, home, root)
    }

    #[test]
    fn folders_are_resolved_once_and_get_tags_of_their_own() {
        let (_world, home, root) = world();
        std::os::unix::fs::symlink(root.join("x"), root.join("link")).unwrap();
        let text = |path: &str| OsString::from(path.replace('~', root.to_str().unwrap()));
        let folders = asked(&home, &[text("~/src"), text("~/link/src:ro"), text("src-2:~/a b")]).unwrap();
        let shown: Vec<String> = folders.iter().map(ToString::to_string).collect();
        let expected = ["src:~/src:rw", "src-3:~/x/src:ro", "src-2:~/a b:rw"].map(text);
        assert_eq!(shown, expected.map(|path| path.into_string().unwrap()));
        assert_eq!(of_run(&home, &folders, &[]).unwrap(), folders);
        let own = Folder { tag: "src".into(), path: folders[2].path.clone(), read_only: true };
        let merged = of_run(&home, &folders, std::slice::from_ref(&own)).unwrap();
        assert_eq!(merged, [folders[1].clone(), folders[2].clone(), own]);
        // The folder makes way for a link: it leads elsewhere now.
        std::fs::rename(root.join("src"), root.join("gone")).unwrap();
        assert!(matches!(of_run(&home, &folders, &[]), Err(FolderError::Unusable { .. })));
        std::os::unix::fs::symlink(root.join("a b"), root.join("src")).unwrap();
        assert!(matches!(of_run(&home, &folders, &[]), Err(FolderError::Moved { .. })));
    }

    #[test]
    fn what_makes_a_vm_what_it_is_is_not_shared() {
        let (_world, home, root) = world();
        let refused = |path: &str| asked(&home, &[root.join(path).into_os_string()]).unwrap_err();
        for path in ["me/home", "me/home/vms", "me/home/vms/web1.vm", "me", ""] {
            assert!(matches!(refused(path), FolderError::Home { .. }), "{path}: {:?}", refused(path));
        }
        for path in ["far.vm", "far.vm/deep"] {
            assert!(matches!(refused(path), FolderError::Vm { .. }), "{path}: {:?}", refused(path));
        }
        for path in ["file", "nothing"] {
            assert!(matches!(refused(path), FolderError::Unusable { .. }), "{path}: {:?}", refused(path));
            assert_eq!(refused(path).code(), Code::FolderRefused);
        }
        let twice =
            ["t:~/src", "t:~/x"].map(|path| OsString::from(path.replace('~', root.to_str().unwrap())));
        assert!(matches!(asked(&home, &twice), Err(FolderError::Twice { .. })));
        let many = vec![root.join("src").into_os_string(); 17];
        assert!(matches!(asked(&home, &many), Err(FolderError::TooMany { count: 17 })));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_name_that_is_no_text_is_refused() {
        use std::os::unix::ffi::OsStrExt as _;
        let (_world, home, root) = world();
        let odd = root.join(OsStr::from_bytes(b"\xff"));
        std::fs::create_dir(&odd).unwrap();
        assert!(matches!(asked(&home, &[odd.clone().into_os_string()]), Err(FolderError::NotText { .. })));
        // Reached by a name that is text.
        std::os::unix::fs::symlink(&odd, root.join("plain")).unwrap();
        let error = asked(&home, &[root.join("plain").into_os_string()]).unwrap_err();
        assert!(matches!(error, FolderError::NotText { .. }), "{error:?}");
    }
}
