//! Machine identifiers made and read by the framework itself.

use objc2::AnyThread as _;
use objc2::rc::{Retained, autoreleasepool};
use objc2_foundation::NSData;
use objc2_virtualization::{VZGenericMachineIdentifier, VZMacHardwareModel, VZMacMachineIdentifier};
use selfsame_machine::identity::Kind;

/// A fresh identifier, as the framework writes it.
#[must_use]
pub fn fresh_identifier(kind: Kind) -> Vec<u8> {
    // SAFETY: both are made without arguments and are values that any thread may use.
    autoreleasepool(|_| unsafe {
        match kind {
            Kind::Mac => VZMacMachineIdentifier::new().dataRepresentation().to_vec(),
            Kind::Generic => VZGenericMachineIdentifier::new().dataRepresentation().to_vec(),
        }
    })
}

/// What the framework writes after it has read `bytes`; `None` when it does not accept them.
#[must_use]
pub fn written_back(kind: Kind, bytes: &[u8]) -> Option<Vec<u8>> {
    autoreleasepool(|_| match kind {
        // SAFETY: reads an identifier that was just accepted.
        Kind::Mac => Some(unsafe { mac(bytes)?.dataRepresentation() }.to_vec()),
        // SAFETY: as above.
        Kind::Generic => Some(unsafe { generic(bytes)?.dataRepresentation() }.to_vec()),
    })
}

pub(super) fn mac(bytes: &[u8]) -> Option<Retained<VZMacMachineIdentifier>> {
    let data = NSData::with_bytes(bytes);
    // SAFETY: takes any data and answers nil for what it does not accept.
    unsafe { VZMacMachineIdentifier::initWithDataRepresentation(VZMacMachineIdentifier::alloc(), &data) }
}

pub(super) fn generic(bytes: &[u8]) -> Option<Retained<VZGenericMachineIdentifier>> {
    let data = NSData::with_bytes(bytes);
    // SAFETY: takes any data and answers nil for what it does not accept.
    unsafe {
        VZGenericMachineIdentifier::initWithDataRepresentation(VZGenericMachineIdentifier::alloc(), &data)
    }
}

pub(super) fn hardware_model(bytes: &[u8]) -> Option<Retained<VZMacHardwareModel>> {
    let data = NSData::with_bytes(bytes);
    // SAFETY: takes any data and answers nil for what it does not accept.
    unsafe { VZMacHardwareModel::initWithDataRepresentation(VZMacHardwareModel::alloc(), &data) }
}
