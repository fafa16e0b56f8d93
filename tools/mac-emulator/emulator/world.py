"""One emulated process: the machine, the program, and all fakes together.

Fakes register themselves in tables when their modules are imported: `IMPORTS` here for functions, the class tables of
`objc` for methods. What belongs to one run lies in a `World`.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

# Imported for what they register.
from . import foundation, libc, objc_functions, security, system  # noqa: F401
from .clock import Clock
from .dispatch import Dispatch
from .errors import Crash, Ended, Exited
from .files import Files
from .host import Host
from .image import Image
from .log import Call, Log
from .machine import STACK_COUNT, STACK_SIZE, STACKS, Arguments, Handler, Machine
from .native import NATIVE, place
from .objc import Runtime
from .registry import DATA, IMPORTS
from .virtualization import configuration, devices, identity, machine, storage  # noqa: F401
from .virtualization.service import Service


@dataclass
class Thread:
    """A thread as the program sees it: its variables and its stack."""

    number: int
    variables: int
    stack: int
    specific: dict[int, int] = field(default_factory=dict)


@dataclass
class Result:
    """How a run ended."""

    # The exit status; `None` if it did not end by itself.
    status: int | None
    out: str
    err: str
    # Why it did not end by itself.
    failure: Ended | None
    log: Log
    # How many objects were alive at the end, by class; blocks are counted as `block`, memory as `memory`.
    alive: Counter[str]


class World:
    """One emulated process."""

    def __init__(self, image: Image, host: Host, files: Files, arguments: list[str]) -> None:
        self.image = image
        self.host = host
        self.files = files
        self.log = Log(host.verbose)
        self.random = random.Random(host.seed)
        self.machine = Machine()
        self.clock = Clock()
        self.errno = self.machine.allocate(16)
        self.runtime = Runtime(self)
        self.dispatch = Dispatch(self)
        self.environment: dict[str, str] = dict(host.environment)
        self._data: dict[str, int] = {}
        image.load(self.machine, self._resolve)
        self.threads: list[Thread] = []
        # The services that run this process's virtual machines.
        self.services: list[Service] = []
        self._depth = 0
        self.keys = 0
        self.thread = self._thread(0)
        self.arguments = [image.path.name, *arguments]
        self.argument_vector = self._store_strings(self.arguments)

    # What the program imports.

    def _resolve(self, name: str) -> int:
        if name in DATA:
            return self.data(name)
        if name in NATIVE:
            return place(self.machine, name)
        function = IMPORTS.get(name)
        return self.machine.trap(name, self._handler(function) if function else self.machine.missing(name))

    def _handler(self, function: Callable[[World, Arguments], int | None]) -> Handler:
        return lambda arguments: function(self, arguments)

    def data(self, name: str) -> int:
        """The address of an imported variable."""
        if name not in self._data:
            self._data[name] = DATA[name](self)
        return self._data[name]

    def _store_strings(self, strings: list[str]) -> int:
        vector = self.machine.allocate(8 * (len(strings) + 2))
        for index, text in enumerate(strings):
            self.machine.put64(vector + 8 * index, self.machine.store_string(text))
        self.machine.put64(vector + 8 * len(strings), 0)
        self.machine.put64(vector + 8 * len(strings) + 8, 0)
        return vector

    # Threads.

    def _thread(self, number: int) -> Thread:
        while len(self.threads) <= number:
            index = len(self.threads)
            if index >= STACK_COUNT:
                raise Crash("work waits for work that waits for work: more threads than there are stacks")
            top = STACKS + STACK_SIZE * (index + 1) - 256
            self.threads.append(Thread(index, self.image.new_thread_locals(self.machine), top))
        return self.threads[number]

    @contextmanager
    def worker(self) -> Iterator[Thread]:
        """Another thread, for as long as the current one waits."""
        before = self.thread
        self._depth += 1
        self.thread = self._thread(self._depth)
        try:
            yield self.thread
        finally:
            self._depth -= 1
            self.thread = before

    # Calls.

    def call(self, function: int, *arguments: int) -> int:
        """Calls a function of the program on the current thread."""
        return self.machine.call(function, list(arguments))

    def note(self, text: str) -> None:
        """Notes something that a fake did."""
        self.log.note(self.clock.seconds, text)

    def log_call(self, kind: str, selector: str, receiver: int) -> None:
        """Notes a message."""
        self.log.call(Call(self.clock.seconds, kind, selector, self.dispatch.label(), receiver))

    def fail(self, number: int) -> int:
        """Sets `errno` (Darwin's numbers) and gives -1."""
        self.machine.put32(self.errno, number)
        return -1

    # The run.

    def run(self) -> Result:
        """Runs the program to its end."""
        status: int | None = None
        failure: Ended | None = None
        try:
            self.machine.set_register_stack(self.thread.stack)
            entry = self.image.base + self.image.entry
            count = len(self.arguments)
            # No environment: the program asks by getenv.
            empty = self.argument_vector + 8 * count
            status = self.call(entry, count, self.argument_vector, empty, empty) & 0xFF
        except Exited as end:
            status = end.status & 0xFF
        except Ended as end:
            failure = end
        finally:
            self.host.end_process(self)
            out, err = self.files.finish()
        return Result(status, out, err, failure, self.log, self.alive())

    def alive(self) -> Counter[str]:
        """Counts what was not given back."""
        alive = Counter(instance.kind for instance in self.runtime.objects.values())
        alive.update(block=len(self.runtime.blocks.counts), memory=self.machine.blocks_in_use)
        return alive


def run(binary: Path, host: Host, commands: str = "", arguments: list[str] | None = None) -> Result:
    """Runs a program with the text as its standard input."""
    image = Image.read(binary)
    return World(image, host, Files.with_input(commands), arguments or []).run()
