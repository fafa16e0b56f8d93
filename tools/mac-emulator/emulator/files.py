"""The descriptors of an emulated process.

A descriptor of the program is one of ours with the same number, but for the first three. Each is known here, so that a
wrong close is an error for the program as it would be on a Mac, and nothing stays open after it.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, field


@dataclass
class Files:
    """The open files of one process."""

    standard: list[int]
    captured: bool
    opened: set[int] = field(default_factory=set)
    directories: dict[int, list[bytes]] = field(default_factory=dict)

    @classmethod
    def with_input(cls, text: str) -> Files:
        """Standard input is the text, output is kept."""
        with tempfile.TemporaryFile() as source:
            source.write(text.encode())
            source.flush()
            source.seek(0)
            standard = [os.dup(source.fileno())]
        for _ in range(2):
            with tempfile.TemporaryFile() as sink:
                standard.append(os.dup(sink.fileno()))
        return cls(standard, True)

    @classmethod
    def inherited(cls) -> Files:
        """Standard input and output are ours."""
        return cls([os.dup(number) for number in range(3)], False)

    def host(self, number: int) -> int:
        """Our descriptor for one of the program's; -1, which fails everywhere with EBADF, if it is not open."""
        if 0 <= number < 3:
            return self.standard[number]
        return number if number in self.opened else -1

    def add(self, descriptor: int) -> int:
        """Makes one of ours the program's."""
        self.opened.add(descriptor)
        return descriptor

    def close(self, number: int) -> None:
        """Closes one of the program's."""
        if 0 <= number < 3:
            return
        if number not in self.opened:
            raise OSError(9, "the program has no such descriptor")
        self.opened.discard(number)
        os.close(number)

    def finish(self) -> tuple[str, str]:
        """Closes everything and gives what was written to standard output and error."""
        for descriptor in self.opened:
            os.close(descriptor)
        self.opened.clear()
        texts = ["", ""]
        if self.captured:
            for index in (0, 1):
                descriptor = self.standard[index + 1]
                size = os.fstat(descriptor).st_size
                texts[index] = os.pread(descriptor, size, 0).decode("utf-8", "replace")
        for descriptor in self.standard:
            os.close(descriptor)
        return texts[0], texts[1]
