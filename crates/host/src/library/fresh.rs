//! New identities and addresses: on a Mac, identities come from the framework itself; elsewhere from the kernel's random
//! numbers, 64 random bits for a macOS guest, as all ECIDs that were ever published look like.

use selfsame_machine::code::Code;
use selfsame_machine::identity::{Ecid, GenericId, Identity, Kind, MacAddress};
use selfsame_machine::problem::Problem;

/// The kernel gives no random numbers.
#[derive(Debug, thiserror::Error)]
#[error("the system gives no random numbers")]
pub struct FreshError(#[source] getrandom::Error);

impl Problem for FreshError {
    fn code(&self) -> Code {
        Code::InternalFault
    }
}

fn random<const N: usize>() -> Result<[u8; N], FreshError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(FreshError)?;
    Ok(bytes)
}

/// An identity that nobody has, and where it is from: `framework`, or `fresh` for a random UUID (RFC 9562, version 4) or
/// a random ECID other than 0.
///
/// # Errors
/// When the system gives no random numbers.
pub fn fresh_identity(kind: Kind) -> Result<(Identity, &'static str), FreshError> {
    #[cfg(target_os = "macos")]
    if let Some(identity) = made_by_the_framework(kind) {
        return Ok((identity, "framework"));
    }
    Ok((random_identity(kind)?, "fresh"))
}

/// An identity of the framework's making; `None` should it be one that we cannot read.
#[cfg(target_os = "macos")]
fn made_by_the_framework(kind: Kind) -> Option<Identity> {
    let made = selfsame_machine::identity::Blob::read(&selfsame_vz::fresh_identifier(kind));
    made.identity.filter(|identity| identity.kind() == kind)
}

fn random_identity(kind: Kind) -> Result<Identity, FreshError> {
    loop {
        match kind {
            Kind::Generic => {
                let uuid = uuid::Builder::from_random_bytes(random()?).into_uuid();
                if let Ok(id) = GenericId::try_from(uuid) {
                    return Ok(Identity::Generic(id));
                }
            }
            Kind::Mac => {
                let ecid = u64::from_be_bytes(random()?);
                if ecid != 0 {
                    return Ok(Identity::Mac(Ecid::new(ecid)));
                }
            }
        }
    }
}

/// A random address of the kind that anybody may use: locally administered, unicast.
///
/// # Errors
/// When the system gives no random numbers.
pub fn fresh_mac() -> Result<MacAddress, FreshError> {
    Ok(MacAddress::local_from_random(random()?))
}
