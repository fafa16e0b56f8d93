#!/bin/sh
# Makes a disk of what mmdebstrap has packed: ROOTFS.tar becomes the file system FOLDER/disk.raw, and its kernel and initial
# file system lie beside it. Run by root, or by who is root in a name space of their own.
#
#   pack.sh ROOTFS.tar FOLDER
set -eu
tar=$1 folder=$2

mkdir "$folder/tree"
# The kernel brings /dev; only the real root could make what is in it.
tar -xf "$tar" -C "$folder/tree" --numeric-owner --exclude='./dev/*'
rm -f "$tar"
mv "$folder"/tree/boot/vmlinuz-* "$folder/vmlinuz"
mv "$folder"/tree/boot/initrd.img-* "$folder/initrd"
mv "$folder/tree/usr/share/selfsame-packages.toml" "$folder/packages.toml"
rm -rf "$folder"/tree/boot/* "$folder"/tree/vmlinuz* "$folder"/tree/initrd*
# As large as Debian's own are at least. It takes room only where something is in it.
mke2fs -q -t ext4 -d "$folder/tree" -L root -E root_owner=0:0 "$folder/disk.raw" 2G
rm -rf "$folder/tree"
