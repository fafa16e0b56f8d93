"""The process beside the program that runs one guest: its locks, its slot in the kernel, what the guest does.

The lock on auxiliary storage is a real, exclusive one, so that other processes and their probes see it.
"""

from __future__ import annotations

import fcntl
import os
import socket
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..clock import SECOND

if TYPE_CHECKING:
    from ..objc import Instance
    from ..world import World
    from .machine import Vm

CHUNK = 4096


@dataclass
class Lock:
    """The lock on a file."""

    descriptor: int

    @classmethod
    def take(cls, path: str) -> Lock | None:
        """Locks a file; `None` if somebody else has it."""
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return cls(descriptor)

    def release(self) -> None:
        """Lets go of the file."""
        os.close(self.descriptor)


class Service:
    """What runs one guest."""

    def __init__(self, world: World, vm: Vm) -> None:
        self.world = world
        self.vm = vm
        self.guest = world.host.guest(vm.bundle)
        self.lock: Lock | None = None
        self.has_slot = False
        # Counts starts and ends, so that what was planned for one run of the guest does not meet the next.
        self.life = 0
        self.stuck = False
        world.services.append(self)

    def note(self, text: str) -> None:
        """Notes something about the guest."""
        self.world.note(f"{self.vm.bundle}: {text}")

    # Locks and slots.

    def acquire(self) -> str | None:
        """Takes what a start needs. Names what is missing."""
        path = self.vm.auxiliary_storage
        if path is not None and self.lock is None:
            self.lock = Lock.take(path)
            if self.lock is None:
                return "lock"
        if self.vm.is_mac and not self.has_slot:
            self.has_slot = self.world.host.change_slots(1)
            if not self.has_slot:
                return "slot"
        return None

    def power_off(self) -> None:
        """The guest is off: the kernel has the slot back."""
        self.life += 1
        self.stuck = False
        if self.has_slot and not self.world.host.leaks_slots:
            self.world.host.change_slots(-1)
        self.has_slot = False

    def let_go(self) -> None:
        """The machine's object is gone: the lock follows it, perhaps later."""
        self.power_off()
        lock, self.lock = self.lock, None
        if lock is None:
            return
        delay = self.world.host.lock_outlives
        if delay:
            self.leftover = lock
            queue = self.world.dispatch.create(f"service of {self.vm.bundle}")
            self.world.dispatch.submit(queue, self._release_leftover, int(delay * SECOND))
            self.world.runtime.release(queue.instance)
        else:
            lock.release()

    leftover: Lock | None = None

    def _release_leftover(self) -> None:
        if self.leftover is not None:
            self.leftover.release()
            self.leftover = None
            self.note("its lock is free")

    def close(self) -> None:
        """The process is gone, and all it had with it."""
        self.power_off()
        for lock in (self.lock, self.leftover):
            if lock is not None:
                lock.release()
        self.lock = self.leftover = None

    # The guest.

    def begin(self) -> None:
        """The guest runs: what it is to do is planned."""
        self.life += 1
        guest = self.guest
        if guest.powers_off_after is not None:
            self._plan(guest.powers_off_after, self.vm.guest_powered_off)
        if guest.crashes_after is not None:
            self._plan(guest.crashes_after, self.vm.service_crashed)
        if guest.loses_network_after is not None:
            self._plan(guest.loses_network_after, self.vm.network_lost)
        if guest.floods:
            self._plan(0.001, lambda: self._write(self.vm.serial, b"x" * CHUNK, guest.floods))
        for name, content in guest.writes.items():
            attachment = self.vm.ports.get(name)
            if attachment is not None:
                self._plan(0.002, lambda a=attachment, c=content: self._write(a, c, len(c)))

    def press_power(self) -> None:
        """Somebody asked the guest to power off."""
        delay = self.guest.stop_delay(self.vm.is_mac)
        if delay is None:
            self.note("the guest ignores the request to stop" if not self.vm.is_mac else "the guest shows a dialog")
        else:
            self._plan(delay, self.vm.guest_powered_off)

    def _plan(self, seconds: float, work: object) -> None:
        life = self.life

        def run() -> None:
            if life != self.life:
                return
            if self.stuck and work == self.vm.guest_powered_off:
                self.note("the guest hangs at its serial port and does not power off")
                return
            work()  # type: ignore[operator]

        self.world.dispatch.submit(self.vm.queue, run, int(seconds * SECOND))

    def _write(self, attachment: Instance | None, chunk: bytes, left: int, tries: int = 0) -> None:
        """Writes the next piece to a serial port; a port that nobody reads stops the guest."""
        if attachment is None:
            return
        part = chunk[: min(left, CHUNK)]
        done = write_to(attachment, part)
        if done == 0:
            if not self.stuck:
                self.note(f"the guest hangs at its serial port, {left} bytes to go")
            self.stuck = True
            if tries < 1000:
                self._plan(0.1, lambda: self._write(attachment, chunk, left, tries + 1))
            return
        self.stuck = False
        left -= done
        if left:
            rest = chunk if left >= CHUNK and len(chunk) == CHUNK else chunk[done:] or chunk
            self._plan(0.0001, lambda: self._write(attachment, rest, left))
        else:
            self.note("the guest has written everything to its serial port")


def write_to(attachment: Instance, data: bytes) -> int:
    """Writes to a serial port's attachment without waiting; gives the number of bytes that it took."""
    if "path" in attachment.fields:
        with open(attachment["path"], "ab") as file:
            file.write(data)
        return len(data)
    handle = attachment.get("writing")
    if handle is None:
        return len(data)
    descriptor: int = handle["descriptor"]
    try:
        if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            with socket.socket(fileno=os.dup(descriptor)) as end:
                return end.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        blocking = os.get_blocking(descriptor)
        os.set_blocking(descriptor, False)
        try:
            return os.write(descriptor, data)
        finally:
            os.set_blocking(descriptor, blocking)
    except BlockingIOError:
        return 0
    except (BrokenPipeError, ConnectionResetError):
        # Nobody is there: what the guest writes is lost.
        return len(data)
