//! The official images that `create --image NAME` knows.
//!
//! All are the publishers' own cloud images with cloud-init, fetched from the publishers' own addresses over HTTPS. Where
//! a publisher keeps a name for the newest build ("latest", "release"), that is what the row names; a build that is
//! numbered is named with its number. The rows were collected on 2026-11-28 from the publishers' folders as others'
//! published scripts name them. Debian's `generic` is taken, not `genericcloud`: its kernel has 9p and drivers for more
//! than virtio.

/// An image under a name of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Official {
    /// What people call it here.
    pub name: &'static str,
    /// What it is.
    pub title: &'static str,
    /// The user whom the image is made for.
    pub user: &'static str,
    /// For 64-bit PCs.
    pub x86_64: Published,
    /// For 64-bit Arm.
    pub aarch64: Published,
}

/// One file of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// Where its folder is; ends with a slash.
    pub folder: &'static str,
    /// Its name, as its checksum file has it.
    pub file: &'static str,
    /// The name of the checksum file in the same folder.
    pub checksums: &'static str,
}

impl Published {
    /// Where the image is.
    #[must_use]
    pub fn url(&self) -> String {
        [self.folder, self.file].concat()
    }

    /// Where its checksum file is.
    #[must_use]
    pub fn checksums_url(&self) -> String {
        [self.folder, self.checksums].concat()
    }
}

const fn published(folder: &'static str, file: &'static str, checksums: &'static str) -> Published {
    Published { folder, file, checksums }
}

const DEBIAN_13: &str = "https://cloud.debian.org/images/cloud/trixie/latest/";
const DEBIAN_12: &str = "https://cloud.debian.org/images/cloud/bookworm/latest/";
const UBUNTU_26_04: &str = "https://cloud-images.ubuntu.com/releases/26.04/release/";
const UBUNTU_24_04: &str = "https://cloud-images.ubuntu.com/releases/24.04/release/";
const UBUNTU_22_04: &str = "https://cloud-images.ubuntu.com/releases/22.04/release/";
// Not download.fedoraproject.org, which leads to a mirror of its choice, and not always over HTTPS.
const FEDORA_44_PC: &str = "https://dl.fedoraproject.org/pub/fedora/linux/releases/44/Cloud/x86_64/images/";
const FEDORA_44_ARM: &str = "https://dl.fedoraproject.org/pub/fedora/linux/releases/44/Cloud/aarch64/images/";

/// All of them, in the order in which they are shown.
const OFFICIAL: [Official; 6] = [
    Official {
        name: "debian-13",
        title: "Debian 13 (trixie)",
        user: "debian",
        x86_64: published(DEBIAN_13, "debian-13-generic-amd64.qcow2", "SHA512SUMS"),
        aarch64: published(DEBIAN_13, "debian-13-generic-arm64.qcow2", "SHA512SUMS"),
    },
    Official {
        name: "debian-12",
        title: "Debian 12 (bookworm)",
        user: "debian",
        x86_64: published(DEBIAN_12, "debian-12-generic-amd64.qcow2", "SHA512SUMS"),
        aarch64: published(DEBIAN_12, "debian-12-generic-arm64.qcow2", "SHA512SUMS"),
    },
    Official {
        name: "ubuntu-26.04",
        title: "Ubuntu 26.04 LTS",
        user: "ubuntu",
        x86_64: published(UBUNTU_26_04, "ubuntu-26.04-server-cloudimg-amd64.img", "SHA256SUMS"),
        aarch64: published(UBUNTU_26_04, "ubuntu-26.04-server-cloudimg-arm64.img", "SHA256SUMS"),
    },
    Official {
        name: "ubuntu-24.04",
        title: "Ubuntu 24.04 LTS",
        user: "ubuntu",
        x86_64: published(UBUNTU_24_04, "ubuntu-24.04-server-cloudimg-amd64.img", "SHA256SUMS"),
        aarch64: published(UBUNTU_24_04, "ubuntu-24.04-server-cloudimg-arm64.img", "SHA256SUMS"),
    },
    Official {
        name: "ubuntu-22.04",
        title: "Ubuntu 22.04 LTS",
        user: "ubuntu",
        x86_64: published(UBUNTU_22_04, "ubuntu-22.04-server-cloudimg-amd64.img", "SHA256SUMS"),
        aarch64: published(UBUNTU_22_04, "ubuntu-22.04-server-cloudimg-arm64.img", "SHA256SUMS"),
    },
    Official {
        name: "fedora-44",
        title: "Fedora Cloud 44",
        user: "fedora",
        x86_64: published(
            FEDORA_44_PC,
            "Fedora-Cloud-Base-Generic-44-1.7.x86_64.qcow2",
            "Fedora-Cloud-44-1.7-x86_64-CHECKSUM",
        ),
        aarch64: published(
            FEDORA_44_ARM,
            "Fedora-Cloud-Base-Generic-44-1.7.aarch64.qcow2",
            "Fedora-Cloud-44-1.7-aarch64-CHECKSUM",
        ),
    },
];

/// All official images.
#[must_use]
pub const fn official() -> &'static [Official] {
    &OFFICIAL
}

/// The official image of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Official> {
    OFFICIAL.iter().find(|official| official.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::place::{Url, file_name};

    #[test]
    fn every_row_can_be_fetched_and_kept_beside_the_others() {
        let mut files = Vec::new();
        for official in official() {
            for published in [official.x86_64, official.aarch64] {
                let url: Url = published.url().parse().unwrap();
                assert!(url.is_https(), "{url}");
                assert!(published.checksums_url().parse::<Url>().is_ok());
                assert_eq!(file_name(&url), published.file, "an official image keeps its publisher's name");
                assert!(!files.contains(&published.file), "{} stands twice", published.file);
                files.push(published.file);
                // A name of ours is never taken for a path or an address.
                assert!(!official.name.contains(['/', ':']));
                assert_eq!(find(official.name), Some(official));
            }
            assert!(official.aarch64.file.contains("arm64") || official.aarch64.file.contains("aarch64"));
            assert!(crate::seed::check_user(official.user).is_ok());
        }
    }
}
