"""The Mac that is pretended, and the guests that it is to run: what a scenario chooses."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .world import World

# The kernel runs two macOS guests at once (xnu's `hv_apple_isa_vm_quota`).
LIMIT = 2


@dataclass
class Guest:
    """How a guest behaves. All times are virtual seconds."""

    # From the start to the completion of it.
    starts_after: float = 0.4
    # From being asked to its power-off; `None`: it ignores that. `default`: Linux takes 3 s, macOS shows a dialog.
    obeys_stop_after: float | str | None = "default"
    # From the completion of the start.
    powers_off_after: float | None = None
    crashes_after: float | None = None
    loses_network_after: float | None = None
    # The service dies while the guest starts.
    crashes_in_start: bool = False
    # The completion of a stop never comes.
    stop_hangs: bool = False
    # What the guest writes to its serial port as fast as it can, in bytes; and to named console ports.
    floods: int = 0
    writes: dict[str, bytes] = field(default_factory=dict)

    def stop_delay(self, is_mac: bool) -> float | None:
        """How long it takes to power off when it is asked to; `None`: for ever."""
        if isinstance(self.obeys_stop_after, str):
            return None if is_mac else 3.0
        return self.obeys_stop_after


@dataclass
class Host:
    """The Mac. `folder` keeps what several processes share."""

    folder: Path
    macos: int = 15
    # VZVirtualMachine.isSupported, and VZMacHardwareModel.isSupported for every model.
    supported: bool = True
    runs_model: bool = True
    # `False`: as if the program had been signed without entitlements.
    grants_entitlements: bool = True
    # How the limit of macOS guests shows: `plain`, `monterey` (that system's text), `nested` (below another error).
    limit_shows: str = "plain"
    # Slots are not given back at the end of a guest.
    leaks_slots: bool = False
    keychain_locked: bool = False
    # How long the lock on an auxiliary storage outlives its machine, in virtual seconds.
    lock_outlives: float = 0.0
    # The completion of a stop is followed by guestDidStopVirtualMachine:.
    stop_tells_delegate: bool = False
    # validateSaveRestoreSupportWithError: refuses.
    unsaveable: bool = False
    guests: dict[str, Guest] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    seed: int = 1
    verbose: bool = False

    def guest(self, bundle: str) -> Guest:
        """The guest of a bundle, by the name of its folder."""
        return self.guests.get(bundle, Guest())

    # The kernel's counter of macOS guests.

    @contextmanager
    def _counter(self) -> Iterator[int]:
        descriptor = os.open(self.folder / "slots", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield descriptor
        finally:
            os.close(descriptor)

    @property
    def slots_taken(self) -> int:
        """How many slots are taken."""
        with self._counter() as counter:
            return int(os.pread(counter, 16, 0) or b"0")

    def change_slots(self, by: int) -> bool:
        """Takes a slot, or gives one back. Says whether it could."""
        with self._counter() as counter:
            taken = int(os.pread(counter, 16, 0) or b"0") + by
            if not 0 <= taken <= LIMIT:
                return False
            os.ftruncate(counter, 0)
            os.pwrite(counter, str(taken).encode(), 0)
            return True

    def end_process(self, world: World) -> None:
        """What the kernel does when a process is gone."""
        for service in world.services:
            service.close()
