//! The way into one running guest.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use selfsame_machine::problem::Report;

use super::known_hosts::{KnownHosts, alias};
use super::problem::ReachError;
use crate::bundle::{Bundle, BundleError, Named};
use crate::context::Context;
use crate::library::VmState;
use crate::supervisor::{Link, RunNames, RunRecord, SupervisorError};

/// By what the address is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// A port of this host leads to the guest's; it is there as long as the guest is.
    Forward,
    /// The system's DHCP server gave the guest an address of its own (macOS).
    Lease,
}

/// Where a guest's SSH server is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Door {
    /// The VM.
    pub name: Named,
    /// The address and port.
    pub at: SocketAddr,
    /// By what they are known.
    pub via: Via,
    /// How the guest is connected, where its supervisor told.
    pub link: Option<Link>,
    /// Whom `vm.toml` names for logging in.
    pub user: Option<String>,
    /// The key that was made for this guest, where there is one.
    pub key: Option<PathBuf>,
    /// Under which name the guest's host key is remembered.
    pub alias: String,
    /// Where.
    pub known_hosts: KnownHosts,
}

/// Who logs in, and with what; without, OpenSSH's own rules hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Login {
    /// The user in the guest, in place of that of `vm.toml`; without either, the local user's name.
    pub user: Option<String>,
    /// A private key beside those that OpenSSH tries.
    pub key: Option<PathBuf>,
}

impl Door {
    /// Finds the way into the VM in this folder. Asks its supervisor, or its record while it has none.
    ///
    /// # Errors
    /// When it does not run, is paused, or nothing leads into it.
    pub fn of(context: &Context, folder: &Path) -> Result<Self, Report> {
        let name = context.named(folder);
        let bundle = Bundle::read(folder)?;
        let digest = bundle.identity.digest();
        let state = VmState::ask(context, bundle.key, Some(&digest))
            .map_err(|source| BundleError::Folder { folder: folder.to_owned(), source })?;
        let link = match state {
            VmState::Stopped | VmState::Suspended(_) => {
                return Err(SupervisorError::NotRunning { name }.into());
            }
            VmState::Silent(error) => return Err((*error).into()),
            VmState::Foreign => return Err(ReachError::Foreign { name }.into()),
            VmState::Supervised(status) if status.phase == "paused" => {
                return Err(ReachError::Paused { name }.into());
            }
            VmState::Supervised(status) => status.network,
            // Nobody drives the guest, and it is reached all the same.
            VmState::Orphaned { .. } => {
                RunRecord::read(&context.home.run(), RunNames(bundle.key)).and_then(|record| record.link)
            }
        };
        let (at, via) = match link.as_ref().and_then(|link| link.login) {
            Some(login) => (SocketAddr::new(IpAddr::V4(login.address), login.port), Via::Forward),
            None => Self::leased(&name, &bundle, link.as_ref())?,
        };
        Ok(Self {
            name,
            at,
            via,
            link,
            key: bundle.spec.login.as_ref().and_then(|login| Some(bundle.folder.join(login.key.as_ref()?))),
            user: bundle.spec.login.map(|login| login.user),
            alias: alias(&digest),
            known_hosts: if bundle.spec.ephemeral {
                KnownHosts::of_one_run(&bundle.folder)
            } else {
                KnownHosts::of(context)
            },
        })
    }

    /// The address that macOS's DHCP server gave to a guest of the framework.
    #[cfg(target_os = "macos")]
    fn leased(name: &Named, bundle: &Bundle, link: Option<&Link>) -> Result<(SocketAddr, Via), ReachError> {
        use selfsame_machine::network::{Network, leases};
        if link.is_some_and(|link| link.network == Network::None) {
            return Err(ReachError::NoDoor { name: name.clone(), network: Some(Network::None) });
        }
        let file = crate::files::read_bounded(Path::new("/var/db/dhcpd_leases"), 1 << 20);
        let text = String::from_utf8_lossy(&file.unwrap_or_default()).into_owned();
        let hidden = match leases::find(&leases::read(&text), bundle.mac_address()) {
            leases::Found::Address(address) => {
                return Ok((SocketAddr::new(IpAddr::V4(address), 22), Via::Lease));
            }
            leases::Found::Hidden { count } => count,
            leases::Found::Missing => 0,
        };
        Err(ReachError::NoLease { name: name.clone(), hidden })
    }

    #[cfg(not(target_os = "macos"))]
    fn leased(name: &Named, _: &Bundle, link: Option<&Link>) -> Result<(SocketAddr, Via), ReachError> {
        Err(ReachError::NoDoor { name: name.clone(), network: link.map(|link| link.network) })
    }

    #[cfg(test)]
    pub(super) fn for_tests(at: SocketAddr) -> Self {
        let vms = Path::new("/home/ann/.selfsame/vms");
        Self {
            name: Named::of(&vms.join("web1.vm"), vms),
            at,
            via: Via::Forward,
            link: None,
            user: Some("debian".to_owned()),
            key: None,
            alias: "selfsame-0123456789abcdef".to_owned(),
            known_hosts: KnownHosts::for_tests(vms.with_file_name("known hosts")),
        }
    }
}
