//! The 64-bit number that is the whole identity of a macOS guest.

use std::fmt;

use sha1::{Digest as _, Sha1};
use uuid::{Builder, Uuid};

/// The chip id of every VM of the model VirtualMac2,1.
///
/// Source: libirecovery's device table (VMA2MACOSAP) and the DFU strings printed by such VMs. Certain.
const CHIP: u32 = 0xFE00;

/// The namespace of xnu's platform UUIDs on Apple silicon.
const NAMESPACE: Uuid = Uuid::from_u128(0xA6DD_4CCB_B5E8_4AF5_ACDD_B6DC_6A05_42B8);

/// An exclusive chip identification, the number that `VZMacMachineIdentifier` holds.
///
/// Every value is possible: about half of the published ones have the top bit set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ecid(u64);

impl Ecid {
    /// The ECID with this value.
    #[must_use]
    pub const fn new(value: u64) -> Self {
        Self(value)
    }

    /// The number.
    #[must_use]
    pub const fn value(self) -> u64 {
        self.0
    }

    /// The Provisioning UDID that guests up to macOS 14 show.
    #[must_use]
    pub fn provisioning_udid(self) -> String {
        format!("{CHIP:08X}-{self}")
    }

    /// The Hardware UUID (`IOPlatformUUID`) that the guest shows, whatever its version.
    ///
    /// A version 5 UUID over the ECID and the chip id, both little-endian. Source: `generatePlatformUUID` in xnu's
    /// `IOPlatformExpert.cpp`; 21 of 23 published pairs agree, and the other two fit no chip id at all.
    #[must_use]
    pub fn hardware_uuid(self) -> Uuid {
        Self::platform_uuid(self.0, CHIP)
    }

    /// The rule itself, for any chip: that is what lets the pairs of physical machines check it.
    fn platform_uuid(ecid: u64, chip: u32) -> Uuid {
        let hash = Sha1::new()
            .chain_update(NAMESPACE.as_bytes())
            .chain_update(ecid.to_le_bytes())
            .chain_update(chip.to_le_bytes())
            .finalize();
        let mut bytes = [0; 16];
        bytes.iter_mut().zip(hash).for_each(|(byte, digest)| *byte = digest);
        Builder::from_sha1_bytes(bytes).into_uuid()
    }
}

/// 16 upper-case hexadecimal digits.
impl fmt::Display for Ecid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&format!("{:016X}", self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hardware_uuids_follow_the_rule_of_xnu() {
        for (ecid, uuid) in [
            (0x5FAD_E97D_CBBB_EDA5, "FF269FDC-7A93-5F12-A4B7-09923F0D1F7F"),
            (0x8406_CE28_ECFC_4DAB, "9DDF3A21-4922-50D6-8301-993706890418"),
            (0x92C8_A052_8579_94E2, "832697E7-06E1-5899-AD21-2A3542C98141"),
            (0x95D4_2C40_2835_BDCD, "D3EF4297-641A-5C37-BC1F-3ACF98CB5949"),
            (0x1661_A1D3_0FB2_68D5, "4B839D29-B8F9-5063-BEA1-A6D941D8D9C0"),
            (0x1C4B_B370_C086_94BB, "222A7071-E9FE-5821-82B2-FE43D888CD8A"),
            (0x1870_AB6F_A80B_EE54, "94E67FEC-6031-53AF-BC8A-D78406B0EE34"),
            (0x9CDE_470A_5DCF_5A35, "C916A4BF-152E-5601-A177-2C551DF4E5E8"),
            (0xC3E7_196D_6B9D_9883, "A6AC84D0-7D32-52F0-8938-FC170C7E1646"),
            (0x0000_0000_0000_0001, "D77DAE03-F184-5427-B19E-430699553CDD"),
            (0x0123_4567_89AB_CDEF, "65B59176-69F7-5C2E-88B5-23CAF4267476"),
            (0x7FFF_FFFF_FFFF_FFFF, "64A17595-B475-5626-B720-8E621DA355C3"),
            (0x8000_0000_0000_0000, "3FDC0FCD-79D1-5BD6-9D00-01D60FC9E7E4"),
            (0xFFFF_FFFF_FFFF_FFFF, "A92353AA-43A8-5FAD-A06B-915E35F50C77"),
        ] {
            let shown = Ecid::new(ecid).hardware_uuid().hyphenated().to_string().to_uppercase();
            assert_eq!(shown, uuid, "{ecid:016X}");
        }
    }

    #[test]
    fn the_rule_holds_for_published_physical_machines() {
        for (chip, ecid, uuid) in [
            (0x6000, 0x0002_5904_2662_801E, "7C9AB2E1-73B1-5AD6-9BC8-7229DE7A748C"),
            (0x6041, 0x000C_099E_3460_801C, "98D180CC-6F0B-5D1A-9C88-16144F795A04"),
            (0x8112, 0x0002_5142_3E78_201E, "D26E7BC6-425E-51C2-87C5-0B902782B60D"),
        ] {
            assert_eq!(Ecid::platform_uuid(ecid, chip), Uuid::parse_str(uuid).unwrap());
        }
    }

    #[test]
    fn the_provisioning_udid_is_chip_and_ecid() {
        assert_eq!(Ecid::new(0x5FAD_E97D_CBBB_EDA5).provisioning_udid(), "0000FE00-5FADE97DCBBBEDA5");
        assert_eq!(Ecid::new(1).to_string(), "0000000000000001");
    }
}
