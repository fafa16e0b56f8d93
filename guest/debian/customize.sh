#!/bin/sh
# Run by mmdebstrap when all packages are installed: $1 is the root of the new system.
#
# Makes of it what a distribution publishes as its cloud image: no user and no password but what a seed brings, no keys
# and no machine-id that two guests would share; and less that costs time under emulation.
set -eu
root=$1

echo debian >"$root/etc/hostname"
echo 'LABEL=root / ext4 errors=remount-ro 0 1' >"$root/etc/fstab"
: >"$root/etc/machine-id"
rm -f "$root"/etc/ssh/ssh_host_* "$root/etc/resolv.conf" "$root/var/lib/dbus/machine-id" "$root/var/lib/systemd/random-seed"

mkdir -p "$root/etc/cloud/cloud.cfg.d" "$root/etc/systemd/system/systemd-networkd-wait-online.service.d"
cat >"$root/etc/cloud/cloud.cfg.d/90-selfsame.cfg" <<'CFG'
# Nothing is asked of the network: a seed is a disk with the label CIDATA, or there is none.
datasource_list: [NoCloud, None]
# RSA takes seconds under emulation.
ssh_genkeytypes: [ed25519]
# There is none but C.UTF-8, and another would fail.
locale: false
system_info:
  network:
    renderers: [netplan, networkd]
CFG
rm -f "$root/etc/cloud/cloud.cfg.d/90_dpkg.cfg"
cat >"$root/etc/systemd/system/systemd-networkd-wait-online.service.d/selfsame.conf" <<'UNIT'
[Service]
ExecStart=
ExecStart=/lib/systemd/systemd-networkd-wait-online --any --timeout=20
UNIT

# What an emulated processor only seems to be good for.
printf 'blacklist %s\n' kvm_amd kvm_intel powernow_k8 pcspkr >"$root/etc/modprobe.d/selfsame.conf"

for unit in e2scrub_reap.service e2scrub_all.timer fstrim.timer apt-daily.timer apt-daily-upgrade.timer \
    dpkg-db-backup.timer man-db.timer systemd-pstore.service cloud-init-hotplugd.socket; do
    ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
systemctl --root "$root" enable --quiet systemd-networkd.service 2>/dev/null ||
    chroot "$root" systemctl enable systemd-networkd.service

rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/* "$root"/var/log/*.log "$root"/var/log/apt "$root/var/cache/debconf"
chroot "$root" dpkg-query -W -f '"${binary:Package}" = "${Version}"\n' >"$root/usr/share/selfsame-packages.toml"
