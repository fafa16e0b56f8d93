#!/bin/sh
# Makes a disk of what mmdebstrap has packed: the files ROOTFS.tar become the file system DISK, and its kernel and initial
# file system lie beside it. Run by root, or by who is root in a name space of their own.
#
#   pack.sh ROOTFS.tar FOLDER
set -eu
tar=$1 folder=$2

mkdir "$folder/root"
# The kernel brings /dev; only the real root could make what is in it.
tar -xf "$tar" -C "$folder/root" --numeric-owner --exclude='./dev/*'
rm -f "$tar"
mv "$folder"/root/boot/vmlinuz-* "$folder/vmlinuz"
mv "$folder"/root/boot/initrd.img-* "$folder/initrd"
mv "$folder/root/usr/share/selfsame-packages.toml" "$folder/packages.toml"
rm -rf "$folder"/root/boot/* "$folder"/root/vmlinuz* "$folder"/root/initrd*
# As large as Debian's own are at least. It takes room only where something is in it.
mke2fs -q -t ext4 -d "$folder/root" -L root -E root_owner=0:0 "$folder/disk.raw" 2G
rm -rf "$folder/root"
