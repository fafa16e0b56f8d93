//! Commands that run something in a guest and end as that ended.
//!
//! Their exit status is the guest's. When selfsame itself, or OpenSSH on the way, failed, it is [`NOT_THE_GUEST`], as with
//! other programs that run something elsewhere; the code of the error tells which class of failure it was. A guest's command
//! that ends with 125 itself cannot be told from that by the status, only by the error that is printed.

use std::time::Duration;

use selfsame_host::reach::{Door, Patience, await_server};
use selfsame_machine::problem::Report;
use selfsame_machine::span::Span;

use crate::output::note;

/// The exit status where it was not the guest that ended.
pub(super) const NOT_THE_GUEST: u8 = 125;

/// When somebody who waits is told so.
const QUIET: Duration = Duration::from_secs(2);

/// How long a guest's SSH server is waited for.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(super) struct Waiting {
    /// How long to wait for the guest's SSH server: seconds, or with a unit, `500ms`, `5m`; 0 does not
    #[arg(long, value_name = "TIME", default_value = "60")]
    wait: Span,
}

impl Waiting {
    pub(super) fn attend(self, door: &Door) -> Result<(), Report> {
        let limit = self.wait.duration();
        if limit.is_zero() {
            return Ok(());
        }
        let told = || {
            note(&format!("waiting for the SSH server of {}, up to {} s in all", door.name, limit.as_secs()))
        };
        Ok(await_server(door, Patience { limit, quiet: QUIET }, told)?)
    }
}

/// Who logs in, and with what.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct LoginOptions {
    /// The user in the guest (`login.user` of vm.toml if not given, else your own name)
    #[arg(short = 'l', long, value_name = "USER")]
    login: Option<String>,
    /// A private key, beside those that OpenSSH tries
    #[arg(short = 'i', long, value_name = "KEY", value_hint = clap::ValueHint::AnyPath)]
    key: Option<std::path::PathBuf>,
}

impl LoginOptions {
    pub(super) fn login(&self) -> selfsame_host::reach::Login {
        selfsame_host::reach::Login { user: self.login.clone(), key: self.key.clone() }
    }
}
