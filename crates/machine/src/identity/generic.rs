//! The UUID that is the whole identity of a guest that is not macOS.

use std::fmt;

use uuid::Uuid;

use crate::code::Code;
use crate::problem::{Hint, Problem};

/// The number that `VZGenericMachineIdentifier` holds, and that a guest's SMBIOS table is made from.
///
/// Never all zeros or all ones: firmware and `dmidecode` read these as "not set", so two such guests would look alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GenericId(Uuid);

/// The UUID stands for "none" in SMBIOS and cannot identify a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the UUID {uuid} means \"not set\" to firmware")]
pub struct GenericIdError {
    /// The refused UUID, all zeros or all ones.
    pub uuid: Uuid,
}

impl Problem for GenericIdError {
    fn code(&self) -> Code {
        Code::IdentityUnsupported
    }

    fn hints(&self) -> Vec<Hint> {
        vec![Hint::run("make a fresh identity", "selfsame identity new")]
    }
}

impl GenericId {
    /// The identifier's own UUID, which the guest shows in its SMBIOS serial.
    #[must_use]
    pub const fn uuid(self) -> Uuid {
        self.0
    }

    /// The same identity as Linux shows it in `product_uuid`: the first three groups byte-reversed.
    ///
    /// The framework stores the UUID big-endian where SMBIOS 2.6 and later read three fields little-endian. QEMU
    /// stores them little-endian, so this is also the text that its `-uuid` option needs for the guest to see the
    /// same on both. Source: three published SMBIOS dumps of such guests agree byte for byte.
    #[must_use]
    pub fn product_uuid(self) -> Uuid {
        Uuid::from_bytes(self.0.to_bytes_le())
    }

    /// The SMBIOS serial.
    #[must_use]
    pub fn smbios_serial(self) -> String {
        format!("Virtualization-{self}")
    }
}

impl TryFrom<Uuid> for GenericId {
    type Error = GenericIdError;

    fn try_from(uuid: Uuid) -> Result<Self, Self::Error> {
        if uuid.is_nil() || uuid.is_max() { Err(GenericIdError { uuid }) } else { Ok(Self(uuid)) }
    }
}

/// Lower-case, hyphenated.
impl fmt::Display for GenericId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.0.hyphenated().encode_lower(&mut Uuid::encode_buffer()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_product_uuid_is_half_reversed() {
        for (uuid, product) in [
            ("db087d0b-d366-40bc-809b-969690dcbe1e", "0b7d08db-66d3-bc40-809b-969690dcbe1e"),
            ("b9287a28-db52-4736-a491-9a26c1478f15", "287a28b9-52db-3647-a491-9a26c1478f15"),
            ("c4e505cf-ced1-493f-9d6f-f5e46434e9d0", "cf05e5c4-d1ce-3f49-9d6f-f5e46434e9d0"),
            ("4751f84f-531f-4993-ae7c-adad38143614", "4ff85147-1f53-9349-ae7c-adad38143614"),
        ] {
            let id = GenericId::try_from(Uuid::parse_str(uuid).unwrap()).unwrap();
            assert_eq!(id.product_uuid().to_string(), product);
            assert_eq!(id.smbios_serial(), format!("Virtualization-{uuid}"));
        }
    }

    #[test]
    fn uuids_that_mean_none_are_refused() {
        for uuid in [Uuid::nil(), Uuid::max()] {
            let error = GenericId::try_from(uuid).unwrap_err();
            assert_eq!(error.code(), Code::IdentityUnsupported);
            assert!(error.to_string().contains(&uuid.to_string()));
        }
    }
}
