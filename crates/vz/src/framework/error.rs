//! `NSError`s taken down as [`Link`]s.

use objc2_foundation::NSError;
use objc2_virtualization::VZErrorDomain;

use crate::error::{Chain, Domain, Link};

/// No more errors of a tree are visited.
const VISITS: usize = 8;

/// Takes an error down with everything below it, depth first.
pub(super) fn link_of(error: &NSError) -> Link {
    let mut chain = Chain::new();
    visit(error, &mut chain);
    let outermost = one(error);
    Link::chain(chain).unwrap_or(outermost)
}

fn visit(error: &NSError, chain: &mut Chain) {
    if chain.len() == VISITS {
        return;
    }
    chain.push(one(error));
    let below = error.underlyingErrors();
    for index in 0..below.count() {
        visit(&below.objectAtIndex(index), chain);
    }
}

fn one(error: &NSError) -> Link {
    let domain = error.domain();
    // SAFETY: a constant of the framework, which this binary is linked with; it is never written.
    let is_vz = unsafe { VZErrorDomain }.is_some_and(|vz| domain.isEqualToString(vz));
    let domain = if is_vz {
        Domain::Vz
    } else {
        match domain.to_string() {
            name if name == "NSPOSIXErrorDomain" => Domain::Posix,
            name => Domain::Other(name),
        }
    };
    Link {
        domain,
        code: error.code() as i64,
        text: error.localizedDescription().to_string(),
        reason: error.localizedFailureReason().map(|reason| reason.to_string()),
        below: None,
    }
}
