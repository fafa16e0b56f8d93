"""Numbers that Darwin and Linux do not share, and Darwin's structures.

Source: xnu's `sys/errno.h`, `sys/fcntl.h`, `sys/stat.h`, `sys/dirent.h` (confidence: high).
"""

from __future__ import annotations

import os
import stat
import struct

# Linux's numbers by Darwin's where they differ and can occur here; equal ones are below 35.
ERRNO = {
    11: 35,  # EAGAIN
    35: 11,  # EDEADLK
    36: 63,  # ENAMETOOLONG
    38: 78,  # ENOSYS
    39: 66,  # ENOTEMPTY
    40: 62,  # ELOOP
    75: 84,  # EOVERFLOW
    88: 38,  # ENOTSOCK
    95: 45,  # EOPNOTSUPP
    98: 48,  # EADDRINUSE
    104: 54,  # ECONNRESET
    107: 57,  # ENOTCONN
    110: 60,  # ETIMEDOUT
    111: 61,  # ECONNREFUSED
    115: 36,  # EINPROGRESS
}
LINUX = {darwin: linux for linux, darwin in ERRNO.items()}
EAGAIN = 35
EBADF = 9
EINVAL = 22
ENOTSUP = 45

OPEN_FLAGS = {
    0x4: os.O_NONBLOCK,
    0x8: os.O_APPEND,
    0x100: os.O_NOFOLLOW,
    0x200: os.O_CREAT,
    0x400: os.O_TRUNC,
    0x800: os.O_EXCL,
    0x100000: os.O_DIRECTORY,
    0x1000000: os.O_CLOEXEC,
}
O_SHLOCK, O_EXLOCK = 0x10, 0x20
IGNORED = 0x3 | O_SHLOCK | O_EXLOCK | 0x20000

AT_FDCWD = -2


def errno_of(error: OSError) -> int:
    """Darwin's number for an error of the host."""
    number = error.errno or 22
    return ERRNO.get(number, number)


def message_of(number: int) -> str:
    """The text for an error of Darwin."""
    return os.strerror(LINUX.get(number, number))


def open_flags(flags: int) -> int | None:
    """The host's flags for Darwin's; `None` if there is one that is not known here."""
    result = flags & 3
    for darwin, linux in OPEN_FLAGS.items():
        if flags & darwin:
            result |= linux
            flags &= ~darwin
    return None if flags & ~IGNORED else result


def to_open_flags(flags: int) -> int:
    """Darwin's flags for the host's, as F_GETFL tells them."""
    result = flags & 3
    for darwin, linux in OPEN_FLAGS.items():
        if darwin <= 0x8 and flags & linux:
            result |= darwin
    return result


def stat_structure(info: os.stat_result) -> bytes:
    """`struct stat` with 64-bit inodes, 144 bytes."""
    data = bytearray(144)
    links = min(info.st_nlink, 0xFFFF)
    struct.pack_into(
        "<iHHQII", data, 0, info.st_dev & 0x7FFF_FFFF, info.st_mode, links, info.st_ino, info.st_uid, info.st_gid
    )
    struct.pack_into("<i", data, 24, info.st_rdev & 0x7FFF_FFFF)
    times = (info.st_atime_ns, info.st_mtime_ns, info.st_ctime_ns, info.st_ctime_ns)
    for index, moment in enumerate(times):
        struct.pack_into("<qq", data, 32 + 16 * index, *divmod(moment, 1_000_000_000))
    struct.pack_into("<qqi", data, 96, info.st_size, info.st_blocks, info.st_blksize)
    return bytes(data)


def directory_entry(name: str, inode: int, mode: int) -> bytes:
    """`struct dirent` with 64-bit inodes, 1048 bytes."""
    encoded = os.fsencode(name)
    data = bytearray(1048)
    struct.pack_into("<QQHHB", data, 0, inode, 0, 1048, len(encoded), stat.S_IFMT(mode) >> 12)
    data[21 : 21 + len(encoded)] = encoded
    return bytes(data)
