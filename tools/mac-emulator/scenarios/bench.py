"""What scenarios are made with: folders of VMs, runs, and what can be asked of a run."""

from __future__ import annotations

import base64
import plistlib
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from emulator.files import Files
from emulator.host import Guest, Host
from emulator.image import Image
from emulator.log import Log
from emulator.world import World

# The hardware model of macOS 13 and newer guests in its two versions; version 2 is as public samples show it.
MODEL_2 = base64.b64decode(
    "YnBsaXN0MDDTAQIDBAQFXxAZRGF0YVJlcHJlc2VudGF0aW9uVmVyc2lvbl8QD1BsYXRmb3JtVmVyc2lvbl8QEk1pbmltdW1TdXBwb3J0"
    "ZWRPUxACowYHBxANEAAIDys9UlRYWgAAAAAAAAEBAAAAAAAAAAgAAAAAAAAAAAAAAAAAAABc"
)
MODEL_1 = plistlib.dumps(
    {"DataRepresentationVersion": 1, "PlatformVersion": 2, "MinimumSupportedOS": [13, 0, 0]}, fmt=plistlib.FMT_BINARY
)
ECID = 0x9CDE470A5DCF5A35
UUID = uuid.UUID("db087d0b-d366-40bc-809b-969690dcbe1e")
QUEUE = "dev.selfsame.machine"


class Failed(Exception):
    """A promise was not kept. The text says which and how."""


def check(holds: object, text: str) -> None:
    """Fails unless something holds."""
    if not holds:
        raise Failed(text)


@dataclass
class Run:
    """A run of the program that came to its end."""

    status: int
    out: str
    err: str
    log: Log
    # What was not given back: objects by class, `block`, `memory`.
    alive: Counter[str]

    @property
    def lines(self) -> list[str]:
        """What it printed."""
        return self.out.splitlines()

    def says(self, *texts: str) -> Run:
        """The texts are in the output, one after the other."""
        at = 0
        for text in texts:
            found = self.out.find(text, at)
            check(found >= 0, f"`{text}` was not printed, or not in its place:\n{self.out}{self.err}")
            at = found + len(text)
        return self

    def never_says(self, *texts: str) -> Run:
        """No line of the output has one of the texts in it."""
        for text in texts:
            check(text not in self.out, f"`{text}` was printed:\n{self.out}")
        return self

    def sent(self, kind: str, selector: str, times: int | None = None) -> Run:
        """A message was sent, so many times if that is said."""
        count = len(self.log.sent(kind, selector))
        check(count if times is None else count == times, f"{kind} {selector} was sent {count} times")
        return self

    def never_sent(self, *selectors: str) -> Run:
        """None of the messages was sent to anything."""
        for call in self.log.calls:
            check(call.selector not in selectors, f"{call.kind} {call.selector} was sent")
        return self

    def noted(self, text: str, times: int | None = None) -> Run:
        """A fake noted something."""
        count = len(self.log.noted(text))
        check(count if times is None else count == times, f"`{text}` was noted {count} times:\n{self.notes()}")
        return self

    def notes(self) -> str:
        """What the fakes noted."""
        return "\n".join(f"{moment:.3f} {note}" for moment, note in self.log.notes)


@dataclass
class Bench:
    """An empty folder, a Mac, and the program."""

    image: Image
    folder: Path
    host: Host = field(init=False)

    def __post_init__(self) -> None:
        state = self.folder / "kernel"
        state.mkdir()
        self.host = Host(state)

    # VMs.

    def _bundle(self, name: str, identifier: dict[str, object], toml: str) -> Path:
        bundle = self.folder / name
        bundle.mkdir()
        (bundle / "MachineIdentifier").write_bytes(plistlib.dumps(identifier, fmt=plistlib.FMT_BINARY))
        (bundle / "vm.toml").write_text(f"schema = 1\n{toml}")
        with open(bundle / "Disk.img", "wb") as disk:
            disk.truncate(1 << 20)
        return bundle

    def mac(
        self, name: str, ecid: int = ECID, toml: str = 'memory = "4GiB"\ncpus = 4\n', model: bytes = MODEL_2
    ) -> Path:
        """A VM with macOS."""
        bundle = self._bundle(name, {"ECID": ecid}, toml)
        (bundle / "HardwareModel").write_bytes(model)
        (bundle / "AuxiliaryStorage").write_bytes(b"auxiliary storage of " + name.encode() + bytes(4096))
        return bundle

    def linux(self, name: str, identity: uuid.UUID = UUID, toml: str = "") -> Path:
        """A VM with Linux that boots by UEFI."""
        return self._bundle(name, {"UUID": identity.bytes}, toml)

    def linux_by_kernel(self, name: str) -> Path:
        """A VM with Linux that boots a kernel."""
        boot = '[boot]\nfirmware = "kernel"\nkernel = "Kernel"\ninitrd = "Initrd"\nappend = "console=hvc0"\n'
        bundle = self.linux(name, toml=boot)
        (bundle / "Kernel").write_bytes(b"a kernel")
        (bundle / "Initrd").write_bytes(b"an initial file system")
        return bundle

    def guest(self, name: str, guest: Guest) -> None:
        """Chooses how the guest of a VM behaves."""
        self.host.guests[name] = guest

    # Runs.

    def world(self, *commands: str) -> World:
        """A process that was not started yet."""
        text = "".join(f"{command}\n" for command in commands).replace("@", f"{self.folder}/")
        return World(self.image, self.host, Files.with_input(text), [])

    def run(self, *commands: str, status: int = 0) -> Run:
        """Runs the program with the commands, `@` for the folder, to the end with this exit status."""
        return self.finish(self.world(*commands), status)

    def finish(self, world: World, status: int = 0) -> Run:
        """Runs a process to its end."""
        result = world.run()
        if result.failure is not None:
            raise Failed(f"{result.failure}\n{result.out}{result.err}")
        run = Run(result.status if result.status is not None else -1, result.out, result.err, result.log, result.alive)
        check(run.status == status, f"exit status {run.status}, not {status}:\n{run.out}{run.err}")
        return run


Scenario = Callable[[Bench], None]
SCENARIOS: dict[str, Scenario] = {}


def scenario(function: Scenario) -> Scenario:
    """Registers a scenario by its function's name."""
    assert function.__name__ not in SCENARIOS
    SCENARIOS[function.__name__] = function
    return function
