//! What `create` has the guest told at its first start.

use std::path::{Path, PathBuf};

use selfsame_host::images::Source;
use selfsame_host::library::{FirstStart, read_keys, read_user_data, usual_keys};
use selfsame_machine::problem::Report;
use selfsame_machine::seed::{UserData, check_user};
use selfsame_machine::spec::Guest;

use crate::cli::usage_problem;

/// Who logs in where neither the caller nor the image says.
const STRANGER: &str = "selfsame";

/// Options for guests with cloud-init
#[derive(Debug, clap::Args)]
pub(super) struct FirstStartOptions {
    /// The user who is made in the guest, with `sudo`
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// A file of public keys that may log in; may be given more than once
    #[arg(long, value_name = "FILE")]
    ssh_key: Vec<PathBuf>,
    /// Give the guest this user data for cloud-init, as it is, instead of a user and keys
    #[arg(long, value_name = "FILE", conflicts_with = "ssh_key")]
    user_data: Option<PathBuf>,
}

impl FirstStartOptions {
    /// Reads what is to be told, and says what somebody should know of it. Nothing is told to a guest whose disk is no
    /// image of ours, unless one of the options asks for it.
    pub(super) fn read(
        &self,
        source: Option<&Source>,
        guest: Guest,
    ) -> Result<(Option<FirstStart>, Vec<String>), Report> {
        let asked = self.user.is_some() || !self.ssh_key.is_empty() || self.user_data.is_some();
        match (guest, source.is_some() || asked) {
            (_, false) => return Ok((None, Vec::new())),
            (Guest::Macos, true) => {
                return Err(usage_problem("cloud images and their options are for Linux guests"));
            }
            (Guest::Linux, true) => {}
        }
        if let Some(user) = &self.user {
            check_user(user)?;
        }
        let made_for = match source {
            Some(Source::Official(official)) => Some(official.user.to_owned()),
            Some(Source::Address(_) | Source::File(_)) | None => None,
        };
        let user = self.user.clone().or(made_for);
        if let Some(path) = &self.user_data {
            let user_data = UserData::Verbatim(read_user_data(path)?);
            return Ok((Some(FirstStart { user_data, user }), Vec::new()));
        }
        let caller = || std::env::var("USER").ok().filter(|user| check_user(user).is_ok());
        let user = user.or_else(caller).unwrap_or_else(|| STRANGER.to_owned());
        let (keys, told) = self.keys(&user)?;
        let user_data = UserData::Login { user: user.clone(), keys };
        Ok((Some(FirstStart { user_data, user: Some(user) }), told))
    }

    fn keys(&self, user: &str) -> Result<(Vec<String>, Vec<String>), Report> {
        if !self.ssh_key.is_empty() {
            let mut keys = Vec::new();
            for path in &self.ssh_key {
                keys.extend(read_keys(path)?);
            }
            return Ok((keys, Vec::new()));
        }
        let home = std::env::var_os("HOME");
        let usual = home.as_deref().map(Path::new).map(usual_keys).unwrap_or_default();
        if usual.is_empty() {
            let none = format!(
                "note: nobody can log in as {user}: there is no `--ssh-key` and no `~/.ssh/id_*.pub`"
            );
            return Ok((Vec::new(), vec![none]));
        }
        let files: Vec<String> = usual.iter().map(|(path, _)| format!("`{}`", path.display())).collect();
        let told = format!("note: {} may log in as {user}", files.join(", "));
        Ok((usual.into_iter().flat_map(|(_, keys)| keys).collect(), vec![told]))
    }
}
