//! From what a person typed to a VM's folder.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use selfsame_machine::code::Code;
use selfsame_machine::problem::{Hint, Problem, Report, shell_word};

use super::index::folders_in;
use crate::bundle::{EXTENSION, name_of};
use crate::context::Context;

/// There is no such VM.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// No VM has the name.
    #[error("there is no VM named `{name}` in `{}`", vms.display())]
    NoSuchName {
        /// The name.
        name: String,
        /// Where it was looked for.
        vms: PathBuf,
        /// A name that is nearly the same.
        near: Option<String>,
    },
    /// The path leads to no folder.
    #[error("`{}` is no folder", path.display())]
    NoSuchFolder {
        /// The path.
        path: PathBuf,
    },
}

impl Problem for FindError {
    fn code(&self) -> Code {
        Code::VmNotFound
    }

    fn hints(&self) -> Vec<Hint> {
        let mut hints = Vec::new();
        if let Self::NoSuchName { near: Some(near), .. } = self {
            hints.push(Hint::run("did you mean", format!("selfsame get {}", shell_word(near))));
        }
        hints.push(Hint::run("see which VMs there are", "selfsame list"));
        hints
    }
}

/// Finds a VM's folder by name (`vms/NAME.vm`) or, when the argument holds a `/`, by path. The result is canonical.
///
/// # Errors
/// When there is no such folder.
pub fn find(context: &Context, argument: &OsStr) -> Result<PathBuf, FindError> {
    if argument.as_bytes().contains(&b'/') {
        let path = Path::new(argument);
        return match path.canonicalize() {
            Ok(folder) if folder.is_dir() => Ok(folder),
            Ok(_) | Err(_) => Err(FindError::NoSuchFolder { path: path.to_owned() }),
        };
    }
    let vms = context.home.vms();
    let mut file = OsString::from(argument);
    file.push(format!(".{EXTENSION}"));
    for name in [file.as_os_str(), argument] {
        // Not `.` and `..`: they are no names.
        if let Ok(folder) = vms.join(name).canonicalize()
            && folder.is_dir()
            && !matches!(argument.as_bytes(), b"" | b"." | b"..")
        {
            return Ok(folder);
        }
    }
    let name = argument.to_string_lossy().into_owned();
    let near = folders_in(&vms)
        .iter()
        .map(|folder| name_of(folder))
        .map(|other| (distance(&name, &other), other))
        // Two letters of two are not nearly the same.
        .filter(|(distance, other)| *distance <= 2 && *distance + 1 < name.len().min(other.len()))
        .min()
        .map(|(_, other)| other);
    Err(FindError::NoSuchName { name, vms, near })
}

/// The name stands for a folder elsewhere.
#[derive(Debug, thiserror::Error)]
#[error("`{}` is a link to `{}`, and {verb} would reach through it", link.display(), folder.display())]
struct Linked {
    link: PathBuf,
    folder: PathBuf,
    verb: &'static str,
    command: String,
}

impl Problem for Linked {
    fn code(&self) -> Code {
        Code::RequestDenied
    }

    fn hints(&self) -> Vec<Hint> {
        vec![
            Hint::run("remove the link alone", format!("rm {}", shell_word(&self.link.to_string_lossy()))),
            Hint::run(format!("or {} the VM itself", self.verb), self.command.clone()),
        ]
    }
}

/// Finds a VM's folder as [`find`] does, but never through a link: what it leads to may be somebody else's. `command` is
/// what does it to the folder itself, given that as a word for a shell.
///
/// # Errors
/// When there is no such folder, or the argument is a link to it.
pub(super) fn find_unlinked(
    context: &Context,
    argument: &OsStr,
    verb: &'static str,
    command: impl FnOnce(&str) -> String,
) -> Result<PathBuf, Report> {
    let folder = find(context, argument)?;
    let mut named = context.home.vms().join(argument).into_os_string();
    named.push(format!(".{EXTENSION}"));
    let written = [PathBuf::from(argument), PathBuf::from(named), context.home.vms().join(argument)];
    for link in written {
        let leads_here = || link.canonicalize().is_ok_and(|target| target == folder);
        if link.symlink_metadata().is_ok_and(|metadata| metadata.is_symlink()) && leads_here() {
            let command = command(&shell_word(&folder.to_string_lossy()));
            return Err(Linked { link, folder, verb, command }.into());
        }
    }
    Ok(folder)
}

/// How many letters have to be changed, put in or taken out to come from one to the other.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (line, a) in from.chars().enumerate() {
        let mut diagonal = line;
        let mut left = line + 1;
        for (b, above) in to.iter().zip(row.iter_mut().skip(1)) {
            let here = (diagonal + usize::from(a != *b)).min(left + 1).min(*above + 1);
            diagonal = std::mem::replace(above, here);
            left = here;
        }
        if let Some(first) = row.first_mut() {
            *first = line + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::distance;

    #[test]
    fn distances() {
        assert_eq!(distance("web1", "web1"), 0);
        assert_eq!(distance("web1", "web2"), 1);
        assert_eq!(distance("web1", "wb1"), 1);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "ab"), 2);
        assert_eq!(distance("ab", ""), 2);
    }
}
