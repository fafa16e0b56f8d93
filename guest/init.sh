#!/bin/busybox sh
# The first process of selfsame's test guest: a kernel, busybox, and nothing that outlives the power.
#
# Loads the modules in the order of /etc/modules, reports over the report port (every 30 s, or report_every=SECONDS on the
# kernel's command line), says `selfsame test guest ready` on the console, and powers off when asked by the power button.
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev

while read -r module; do
    # This one refuses to load without UEFI.
    [ "$module" != efivarfs ] || [ -d /sys/firmware/efi ] || continue
    insmod "/modules/$module.ko" || echo "insmod $module failed"
done </etc/modules
[ ! -d /sys/firmware/efi/efivars ] || mount -t efivarfs efivarfs /sys/firmware/efi/efivars

# As systemd does in a VM: the machine-id follows the product UUID.
tr -d - </sys/class/dmi/id/product_uuid >/etc/machine-id 2>/dev/null

# A key event is 24 bytes: 16 of time, the type (1: key), the code (116: power), the value (1: pressed). A device stays
# open, since opening it anew between two events would lose those in between.
for device in /dev/input/event*; do
    [ -e "$device" ] || continue
    exec 3<"$device"
    while event=$(dd bs=24 count=1 <&3 2>/dev/null | xxd -p -c 24) && [ -n "$event" ]; do
        case $event in
            ????????????????????????????????0100740001*)
                echo 'power button pressed' >/dev/console
                sync
                poweroff -f
                ;;
        esac
    done &
    exec 3<&-
done

selfsame-report --loop "${report_every:-30}" </dev/null &

read -r uptime _ </proc/uptime
echo "selfsame test guest ready (kernel $(uname -r), up $uptime s)"
# Collects what others leave; the jobs above never end, so neither does this.
while :; do wait; sleep 60; done
