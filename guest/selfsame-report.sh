#!/bin/sh
# selfsame-report: tells the host which machine this guest takes itself for.
#
# Runs in any Linux guest with a POSIX shell and the usual tools (busybox will do). The host gives the guest a virtio-serial port
# named org.selfsame.report.0; a report is lines of text, each at most 512 bytes with its line feed:
#
#   selfsame-report 1
#   product_uuid=...      the DMI product UUID; this and the next are left out where unreadable (they need root)
#   product_serial=...    the DMI product serial
#   mac=aa:bb:...         one line per interface that is not the loopback, hardware first, at most 64
#   machine_id=...        /etc/machine-id
#   kernel=...            uname -r
#   os=...                PRETTY_NAME of os-release
#   boot_id=...           another one after each boot
#   end
#
# A port can be open in one process at a time, and a write to it waits while the host does not listen. So a report waits
# in a process of its own, which is ended when its time is up: a host that comes late gets it at once, and one that
# never comes costs nothing.
set -u

PORT_NAME=org.selfsame.report.0

usage() {
    cat <<'USAGE'
Tell the host which machine this guest takes itself for

Usage: selfsame-report.sh [-1 | --loop SECONDS | --print]

  -1              report once, waiting up to 30 seconds for the host to listen (default)
  --loop SECONDS  report now and every SECONDS, until ended
  --print         show the report instead of sending it
  --help          show this text

Exit status: 0 sent, 1 no port, 2 usage, 3 the host did not listen in time
USAGE
}

# Both below work on $value and start no process in the common case: a guest under emulation has 20 ms for each.

# Puts the first line of the file $1 into $value; nothing when it cannot be read.
first() {
    value=''
    IFS= read -r value 2>/dev/null <"$1" || [ -n "$value" ]
} 2>/dev/null

# Prints `$1=$value` as one line, without control characters and short enough; nothing for an empty value.
line() {
    # A character takes four bytes at most.
    case $(( ${#value} > 120 )):$value in
        1:* | *[[:cntrl:]]*)
            value=$(printf '%s' "$value" | tr -d '\000-\037\177' | cut -b "1-$((510 - ${#1}))")
            ;;
    esac
    [ -z "$value" ] || printf '%s=%s\n' "$1" "$value"
}

# The lines of all interfaces, those of hardware first: bridges and containers may add any number of others.
macs() {
    for hardware in yes no; do
        for interface in /sys/class/net/*; do
            if [ -e "$interface/device" ]; then is=yes; else is=no; fi
            if [ "$is" != "$hardware" ] || [ "$count" -ge 64 ] || ! first "$interface/address"; then continue; fi
            case ${interface##*/}:$value in lo:* | *:00:00:00:00:00:00) continue ;; esac
            line mac
            count=$((count + 1))
        done
    done
}

report() {
    echo 'selfsame-report 1'
    first /sys/class/dmi/id/product_uuid && line product_uuid
    first /sys/class/dmi/id/product_serial && line product_serial
    count=0
    macs
    first /etc/machine-id && line machine_id
    first /proc/sys/kernel/osrelease && line kernel
    for file in /etc/os-release /usr/lib/os-release; do
        [ -r "$file" ] || continue
        # The file is made to be sourced; in a subshell nothing of it stays here.
        # shellcheck disable=SC1090 # not a file of ours
        value=$(. "$file" >/dev/null 2>&1 && printf '%s' "${PRETTY_NAME:-}")
        line os
        break
    done
    first /proc/sys/kernel/random/boot_id && line boot_id
    echo end
}

# Puts the device of the report port into $device.
find_port() {
    for port in /sys/class/virtio-ports/*; do
        device=/dev/${port##*/}
        first "$port/name" && [ "$value" = "$PORT_NAME" ] && [ -c "$device" ] && return
    done
    return 1
}

# Sends a report and waits for it at most $1 seconds.
send() {
    find_port || return 1
    # dd gathers the whole report for a single write, which no shell's own output promises.
    report | dd obs=65536 of="$device" conv=notrunc 2>/dev/null &
    writer=$!
    (
        trap 'kill "$nap" 2>/dev/null; exit' TERM
        sleep "$1" & nap=$!
        wait "$nap"
        kill "$writer"
    ) </dev/null >/dev/null 2>&1 &
    watchdog=$!
    wait "$writer" 2>/dev/null && status=0 || status=3
    kill "$watchdog" 2>/dev/null
    wait "$watchdog" 2>/dev/null
    writer='' watchdog=''
    return "$status"
}

# Puts the seconds since the kernel started into $value.
uptime() { first /proc/uptime && value=${value%%.*}; }

give_up() {
    [ -z "$writer" ] || kill "$writer" 2>/dev/null
    [ -z "$watchdog" ] || kill "$watchdog" 2>/dev/null
    exit "$1"
}

bad_usage() {
    printf 'error: %s\n\nhint: selfsame-report.sh --help\n' "$1" >&2
    exit 2
}

every=''
case ${1--1} in
    -1 | --print) [ $# -le 1 ] || bad_usage "unexpected \`$2\`" ;;
    --loop)
        [ $# -eq 2 ] || bad_usage '--loop takes one value, the seconds between reports'
        every=$2
        case $every in '' | *[!0-9]* | 0* | ??????*) bad_usage "not a number of seconds: \`$every\`" ;; esac
        ;;
    -h | --help) usage; exit 0 ;;
    *) bad_usage "unknown option \`$1\`" ;;
esac
[ "${1-}" != --print ] || { report; exit 0; }

writer='' watchdog=''
trap 'give_up 130' INT
trap 'give_up 143' TERM
trap 'give_up 129' HUP

if [ -z "$every" ]; then
    send 30
    status=$?
    [ "$status" -ne 1 ] || printf 'error: no virtio-serial port is named %s\n' "$PORT_NAME" >&2
    [ "$status" -ne 3 ] || printf 'error: the host did not listen for 30 seconds\n' >&2
    exit "$status"
fi

find_port || { printf 'error: no virtio-serial port is named %s\n' "$PORT_NAME" >&2; exit 1; }
while :; do
    # A report that nobody took is replaced by a fresh one at once; one that was taken, or could not be handed over at
    # all, gives way to a pause.
    uptime
    start=$value
    send "$every"
    uptime
    rest=$((start + every - value))
    [ "$rest" -le 0 ] || { sleep "$rest" & writer=$!; wait "$writer"; writer=''; }
done
