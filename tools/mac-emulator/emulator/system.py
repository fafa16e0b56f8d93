"""libSystem's files, descriptors, sockets and waiting. All of it is real but for time: the host's kernel does it.

Waiting (`poll`, a read of a socket) runs dispatch's work and lets virtual time go on; see `dispatch`.
"""

from __future__ import annotations

import array
import fcntl
import os
import select
import socket
import stat
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

from . import darwin
from .registry import imported, signed32, signed64

if TYPE_CHECKING:
    from .world import World

# How long the real world may take to send what a program at a terminal waits for, in seconds.
PATIENCE = 60.0


def attempt(world: World, work: Callable[[], int | None]) -> int:
    """Does something with the host's kernel; its error becomes the program's `errno`."""
    try:
        return work() or 0
    except OSError as error:
        return world.fail(darwin.errno_of(error))


def path(world: World, address: int) -> bytes:
    """A path argument."""
    return world.machine.bytes_to_zero(address)


def folder(world: World, number: int) -> int | None:
    """The first argument of the functions whose names end in `at`."""
    return None if signed32(number) == darwin.AT_FDCWD else world.files.host(signed32(number))


# Opening and closing.


def open_file(world: World, name: bytes, flags: int, mode: int, at: int | None = None) -> int:
    """Opens a file with Darwin's flags."""
    host = darwin.open_flags(flags)
    if host is None:
        return world.fail(darwin.EINVAL)
    descriptor = os.open(name, host | os.O_CLOEXEC, mode & 0o7777, dir_fd=at)
    if flags & (darwin.O_EXLOCK | darwin.O_SHLOCK):
        kind = fcntl.LOCK_EX if flags & darwin.O_EXLOCK else fcntl.LOCK_SH
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise
    return world.files.add(descriptor)


@imported("_open")
def _open(world: World, a: list[int]) -> int:
    mode = world.machine.stack_argument(0) if a[1] & 0x200 else 0
    return attempt(world, lambda: open_file(world, path(world, a[0]), a[1] & 0xFFFF_FFFF, mode))


@imported("_openat")
def _openat(world: World, a: list[int]) -> int:
    mode = world.machine.stack_argument(0) if a[2] & 0x200 else 0
    at = folder(world, a[0])
    return attempt(world, lambda: open_file(world, path(world, a[1]), a[2] & 0xFFFF_FFFF, mode, at))


@imported("_close", "_close$NOCANCEL")
def _close(world: World, a: list[int]) -> int:
    return attempt(world, lambda: world.files.close(signed32(a[0])))


@imported("_dup")
def _dup(world: World, a: list[int]) -> int:
    return attempt(world, lambda: world.files.add(os.dup(world.files.host(signed32(a[0])))))


@imported("_pipe")
def _pipe(world: World, a: list[int]) -> int:
    def work() -> None:
        for index, end in enumerate(os.pipe()):
            world.machine.put32(a[0] + 4 * index, world.files.add(end))

    return attempt(world, work)


@imported("_socketpair")
def _socketpair(world: World, a: list[int]) -> int:
    def work() -> None:
        for index, end in enumerate(socket.socketpair(socket.AF_UNIX, a[1] & 0xFF)):
            world.machine.put32(a[3] + 4 * index, world.files.add(end.detach()))

    return attempt(world, work)


@imported("_setsockopt", "_shutdown")
def _socket_option(_world: World, _a: list[int]) -> int:
    # SO_NOSIGPIPE, above all: Python has taken care of SIGPIPE.
    return 0


# Reading and writing.


def readable(descriptor: int) -> bool:
    """Whether a read would not wait."""
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    return bool(poller.poll(0))


def await_readable(world: World, descriptor: int) -> None:
    """Waits before a read as a Mac would."""
    if descriptor < 0 or stat.S_ISREG(os.fstat(descriptor).st_mode) or not os.get_blocking(descriptor):
        return

    def outside() -> bool:
        return bool(select.select([descriptor], [], [], PATIENCE)[0])

    world.dispatch.wait(lambda: readable(descriptor), None, "the program reads a descriptor", outside)


@imported("_read", "_read$NOCANCEL", "_recv")
def _read(world: World, a: list[int]) -> int:
    descriptor = world.files.host(signed32(a[0]))

    def work() -> int:
        await_readable(world, descriptor)
        data = os.read(descriptor, a[2])
        world.machine.write(a[1], data)
        return len(data)

    return attempt(world, work)


@imported("_pread")
def _pread(world: World, a: list[int]) -> int:
    def work() -> int:
        data = os.pread(world.files.host(signed32(a[0])), a[2], a[3])
        world.machine.write(a[1], data)
        return len(data)

    return attempt(world, work)


@imported("_write", "_write$NOCANCEL", "_send")
def _write(world: World, a: list[int]) -> int:
    return attempt(world, lambda: os.write(world.files.host(signed32(a[0])), world.machine.read(a[1], a[2])))


@imported("_pwrite")
def _pwrite(world: World, a: list[int]) -> int:
    data = world.machine.read(a[1], a[2])
    return attempt(world, lambda: os.pwrite(world.files.host(signed32(a[0])), data, a[3]))


@imported("_writev")
def _writev(world: World, a: list[int]) -> int:
    machine = world.machine
    parts = [machine.read(machine.u64(a[1] + 16 * i), machine.u64(a[1] + 16 * i + 8)) for i in range(a[2])]
    return attempt(world, lambda: os.writev(world.files.host(signed32(a[0])), parts))


@imported("_readv")
def _readv(world: World, a: list[int]) -> int:
    parts = [(world.machine.u64(a[1] + 16 * i), world.machine.u64(a[1] + 16 * i + 8)) for i in range(a[2])]

    def work() -> int:
        descriptor = world.files.host(signed32(a[0]))
        await_readable(world, descriptor)
        data = os.read(descriptor, sum(size for _, size in parts))
        at = 0
        for address, size in parts:
            world.machine.write(address, data[at : at + size])
            at += size
        return len(data)

    return attempt(world, work)


@imported("_lseek")
def _lseek(world: World, a: list[int]) -> int:
    return attempt(world, lambda: os.lseek(world.files.host(signed32(a[0])), signed64(a[1]), signed32(a[2])))


@imported("_fsync")
def _fsync(world: World, a: list[int]) -> int:
    return attempt(world, lambda: os.fsync(world.files.host(signed32(a[0]))))


@imported("_ftruncate")
def _ftruncate(world: World, a: list[int]) -> int:
    return attempt(world, lambda: os.ftruncate(world.files.host(signed32(a[0])), signed64(a[1])))


@imported("_isatty")
def _isatty(_world: World, _a: list[int]) -> int:
    return 0


# Names.


def put_stat(world: World, address: int, info: os.stat_result) -> None:
    """Writes a `struct stat`."""
    world.machine.write(address, darwin.stat_structure(info))


@imported("_stat", "_stat$INODE64")
def _stat(world: World, a: list[int]) -> int:
    return attempt(world, lambda: put_stat(world, a[1], os.stat(path(world, a[0]))))


@imported("_lstat", "_lstat$INODE64")
def _lstat(world: World, a: list[int]) -> int:
    return attempt(world, lambda: put_stat(world, a[1], os.lstat(path(world, a[0]))))


@imported("_fstat", "_fstat$INODE64")
def _fstat(world: World, a: list[int]) -> int:
    return attempt(world, lambda: put_stat(world, a[1], os.fstat(world.files.host(signed32(a[0])))))


@imported("_fstatat", "_fstatat$INODE64")
def _fstatat(world: World, a: list[int]) -> int:
    at = folder(world, a[0])
    return attempt(
        world, lambda: put_stat(world, a[2], os.stat(path(world, a[1]), dir_fd=at, follow_symlinks=not a[3] & 0x20))
    )


@imported("_access")
def _access(world: World, a: list[int]) -> int:
    def work() -> int:
        os.stat(path(world, a[0]))
        return 0 if os.access(path(world, a[0]), signed32(a[1])) else world.fail(13)

    return attempt(world, work)


@imported("_unlink")
def _unlink(world: World, a: list[int]) -> int:
    return attempt(world, lambda: os.unlink(path(world, a[0])))


@imported("_unlinkat")
def _unlinkat(world: World, a: list[int]) -> int:
    remove = os.rmdir if a[2] & 0x80 else os.unlink
    return attempt(world, lambda: remove(path(world, a[1]), dir_fd=folder(world, a[0])))


@imported("_rename")
def _rename(world: World, a: list[int]) -> int:
    return attempt(world, lambda: os.rename(path(world, a[0]), path(world, a[1])))


@imported("_renameat")
def _renameat(world: World, a: list[int]) -> int:
    names = path(world, a[1]), path(world, a[3])
    folders = folder(world, a[0]), folder(world, a[2])
    return attempt(world, lambda: os.rename(*names, src_dir_fd=folders[0], dst_dir_fd=folders[1]))


@imported("_link")
def _link(world: World, a: list[int]) -> int:
    return attempt(world, lambda: os.link(path(world, a[0]), path(world, a[1])))


@imported("_mkdir")
def _mkdir(world: World, a: list[int]) -> int:
    return attempt(world, lambda: os.mkdir(path(world, a[0]), a[1] & 0o7777))


@imported("_rmdir")
def _rmdir(world: World, a: list[int]) -> int:
    return attempt(world, lambda: os.rmdir(path(world, a[0])))


@imported("_chmod")
def _chmod(world: World, a: list[int]) -> int:
    return attempt(world, lambda: os.chmod(path(world, a[0]), a[1] & 0o7777))


@imported("_fchmod")
def _fchmod(world: World, a: list[int]) -> int:
    return attempt(world, lambda: os.fchmod(world.files.host(signed32(a[0])), a[1] & 0o7777))


@imported("_getcwd")
def _getcwd(world: World, a: list[int]) -> int:
    world.machine.write(a[0], os.getcwdb() + b"\0")
    return a[0]


@imported("_realpath", "_realpath$DARWIN_EXTSN")
def _realpath(world: World, a: list[int]) -> int:
    try:
        name = os.path.realpath(path(world, a[0]), strict=True) + b"\0"
    except OSError as error:
        world.fail(darwin.errno_of(error))
        return 0
    if not a[1]:
        return world.machine.store(name)
    world.machine.write(a[1], name)
    return a[1]


# Folders.


def read_folder(world: World, descriptor: int) -> int:
    """Makes a `DIR` for an open folder."""
    entries = [darwin.directory_entry(".", 1, stat.S_IFDIR), darwin.directory_entry("..", 1, stat.S_IFDIR)]
    with os.scandir(descriptor) as found:
        for entry in found:
            info = entry.stat(follow_symlinks=False)
            entries.append(darwin.directory_entry(entry.name, info.st_ino, info.st_mode))
    block = world.machine.allocate(16)
    world.machine.put64(block, descriptor)
    world.files.directories[block] = entries
    return block


@imported("_opendir", "_opendir$INODE64")
def _opendir(world: World, a: list[int]) -> int:
    def work() -> int:
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        return read_folder(world, world.files.add(os.open(path(world, a[0]), flags)))

    result = attempt(world, work)
    return 0 if result < 0 else result


@imported("_fdopendir", "_fdopendir$INODE64")
def _fdopendir(world: World, a: list[int]) -> int:
    result = attempt(world, lambda: read_folder(world, world.files.host(signed32(a[0]))))
    return 0 if result < 0 else result


@imported("_readdir_r", "_readdir_r$INODE64")
def _readdir_r(world: World, a: list[int]) -> int:
    entries = world.files.directories[a[0]]
    if entries:
        world.machine.write(a[1], entries.pop(0))
    world.machine.put64(a[2], a[1] if entries else 0)
    return 0


@imported("_dirfd")
def _dirfd(world: World, a: list[int]) -> int:
    return world.machine.u64(a[0])


@imported("_closedir")
def _closedir(world: World, a: list[int]) -> int:
    del world.files.directories[a[0]]
    descriptor = world.machine.u64(a[0])
    world.machine.free(a[0])
    return attempt(world, lambda: world.files.close(descriptor))


# Control.

F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_GETLK, F_SETLK = 0, 1, 2, 3, 4, 7, 8
F_FULLFSYNC, F_GETPATH, F_DUPFD_CLOEXEC, F_SETNOSIGPIPE, F_OFD_SETLK, F_OFD_GETLK = 51, 50, 67, 73, 90, 92
F_BARRIERFSYNC = 85
FIONBIO, FIOCLEX = 0x8004667E, 0x20006601


@imported("_fcntl")
def _fcntl(world: World, a: list[int]) -> int:
    descriptor, command = world.files.host(signed32(a[0])), signed32(a[1])
    argument = world.machine.stack_argument(0)

    def work() -> int:
        os.fstat(descriptor)
        if command in (F_GETFD, F_SETFD, F_SETNOSIGPIPE):
            return 1 if command == F_GETFD else 0
        if command in (F_DUPFD, F_DUPFD_CLOEXEC):
            return world.files.add(fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, argument & 0xFFFF_FFFF))
        if command == F_GETFL:
            return darwin.to_open_flags(fcntl.fcntl(descriptor, fcntl.F_GETFL))
        if command == F_SETFL:
            return fcntl.fcntl(descriptor, fcntl.F_SETFL, darwin.open_flags(argument & 0xFFFF_FFFF) or 0)
        if command in (F_FULLFSYNC, F_BARRIERFSYNC):
            os.fsync(descriptor)
            return 0
        if command == F_GETPATH:
            world.machine.write(argument, os.readlink(f"/proc/self/fd/{descriptor}").encode() + b"\0")
            return 0
        if command in (F_GETLK, F_OFD_GETLK):
            return probe_lock(world, descriptor, argument)
        if command in (F_SETLK, F_OFD_SETLK):
            return set_lock(world, descriptor, argument)
        return world.fail(darwin.EINVAL)

    return attempt(world, work)


def lock_structure(world: World, address: int) -> tuple[int, int, int, int, int]:
    """Darwin's `struct flock`: start, length, pid, type (1 read, 2 unlock, 3 write), whence."""
    start, length, pid, kind, whence = struct.unpack("<qqihh", world.machine.read(address, 24))
    return start, length, pid, kind, whence


def linux_lock(kind: int, whence: int, start: int, length: int) -> bytes:
    """The host's `struct flock` for one of Darwin's."""
    host = {1: fcntl.F_RDLCK, 2: fcntl.F_UNLCK, 3: fcntl.F_WRLCK}[kind]
    return struct.pack("hhqqi4x", host, whence, start, length, 0)


def probe_lock(world: World, descriptor: int, address: int) -> int:
    """F_GETLK. XNU keeps all kinds of locks of a file in one list (`kern_lockf.c`), Linux does not: both are asked."""
    start, length, _, kind, whence = lock_structure(world, address)
    # 36: F_OFD_GETLK. Asked with the type of a reader's lock the host may refuse; a writer's needs no write access.
    answer = fcntl.fcntl(descriptor, 36, linux_lock(kind, whence, start, length))
    held = struct.unpack("hhqqi4x", answer)[0] != fcntl.F_UNLCK
    holder = -1
    if not held:
        held = is_flocked(os.fstat(descriptor).st_ino)
    world.machine.write(address, struct.pack("<qqihh", start, length, holder if held else 0, 3 if held else 2, whence))
    return 0


def is_flocked(inode: int) -> bool:
    """Whether somebody holds a `flock` on the file with this inode."""
    with open("/proc/locks", encoding="ascii") as locks:
        return any(" FLOCK " in line and line.split()[5].endswith(f":{inode}") for line in locks)


def set_lock(world: World, descriptor: int, address: int) -> int:
    """F_SETLK and F_OFD_SETLK, both as locks of the open file: several emulated processes share one of the host's."""
    start, length, _, kind, whence = lock_structure(world, address)
    if kind != 2 and is_flocked(os.fstat(descriptor).st_ino):
        return world.fail(darwin.EAGAIN)
    fcntl.fcntl(descriptor, 37, linux_lock(kind, whence, start, length))
    return 0


@imported("_flock")
def _flock(world: World, a: list[int]) -> int:
    return attempt(world, lambda: fcntl.flock(world.files.host(signed32(a[0])), signed32(a[1])))


@imported("_ioctl")
def _ioctl(world: World, a: list[int]) -> int:
    descriptor = world.files.host(signed32(a[0]))
    if a[1] & 0xFFFF_FFFF == FIOCLEX:
        return 0
    if a[1] & 0xFFFF_FFFF != FIONBIO:
        # What is asked of terminals: there is none.
        return world.fail(25)
    on = world.machine.u32(world.machine.stack_argument(0))
    return attempt(world, lambda: os.set_blocking(descriptor, not on))


# Waiting.


@imported("_poll")
def _poll(world: World, a: list[int]) -> int:
    machine = world.machine
    entries = [struct.unpack("<ihh", machine.read(a[0] + 8 * index, 8)) for index in range(a[1] & 0xFFFF_FFFF)]
    milliseconds = signed32(a[2])
    deadline = None if milliseconds < 0 else world.clock.now + milliseconds * 1_000_000
    answers = array.array("h", [0] * len(entries))

    def look() -> bool:
        for index, (number, events, _) in enumerate(entries):
            if number >= 0:
                answers[index] = look_at(world.files.host(number), events)
        return any(answers)

    def outside() -> bool:
        wanted = [world.files.host(number) for number, _, _ in entries if 0 <= number < 3]
        return bool(wanted) and bool(select.select(wanted, [], [], PATIENCE)[0])

    world.dispatch.wait(look, deadline, "the program polls", outside)
    for index, (number, events, _) in enumerate(entries):
        machine.write(a[0] + 8 * index, struct.pack("<ihh", number, events, answers[index]))
    return sum(1 for answer in answers if answer)


def look_at(descriptor: int, events: int) -> int:
    """What `poll` says of one descriptor now. The numbers of the events are the same on both systems."""
    if descriptor < 0:
        return select.POLLNVAL
    poller = select.poll()
    poller.register(descriptor, events)
    return next((found for _, found in poller.poll(0)), 0)
