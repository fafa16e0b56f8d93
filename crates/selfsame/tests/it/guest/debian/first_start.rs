//! What cloud-init was told: the user and their key, the name, and who the guest is.

use super::{Debian, NAME, USER};

pub(super) fn check(debian: &Debian) {
    assert_eq!(debian.ssh("id -un").ok().stdout, format!("{USER}\n"));
    assert_eq!(debian.ssh("sudo -n id -u").ok().stdout, "0\n");
    assert_eq!(debian.ssh("hostname").ok().stdout, format!("{NAME}\n"));
    // Firmware and kernel show the VM as it was predicted, and cloud-init knows it by its identity.
    let vm = debian.env.get(NAME);
    let uuid = vm["predicted"]["product_uuid"]["value"].as_str().unwrap();
    let shown =
        debian.ssh("sudo cat /sys/class/dmi/id/product_uuid; cat /sys/class/net/e*/address").ok().stdout;
    let mac = vm["mac_address"].as_str().unwrap();
    assert_eq!(shown.to_lowercase(), format!("{}\n{mac}\n", uuid.to_lowercase()));
    let status = debian.ssh("sudo cloud-init status --wait").ok().stdout;
    assert!(status.contains("status: done"), "{status}");
    // Nothing of it failed.
    assert_eq!(debian.ssh("systemctl is-system-running --wait").ok().stdout, "running\n");
}
