"""What the program asked of the frameworks, for scenarios to look at afterwards."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

MAIN = "main"


@dataclass(frozen=True)
class Call:
    """One message to an object or a class of a framework."""

    # Virtual seconds since the start.
    moment: float
    # The class's name, with `+` before it for messages to the class itself.
    kind: str
    selector: str
    # The label of the dispatch queue it was sent on, or `main`.
    queue: str
    receiver: int


@dataclass(frozen=True)
class AddedMethod:
    """A method that the program registered for a class of its own."""

    kind: str
    selector: str
    # Objective-C's type encoding.
    types: str


@dataclass
class Log:
    """All that was noted during one run."""

    verbose: bool = False
    calls: list[Call] = field(default_factory=list)
    added: list[AddedMethod] = field(default_factory=list)
    protocols: list[tuple[str, str]] = field(default_factory=list)
    # What the fakes did on their own: a guest that powered off, a lock that was let go of.
    notes: list[tuple[float, str]] = field(default_factory=list)

    def call(self, call: Call) -> None:
        """Notes a message."""
        self.calls.append(call)
        if self.verbose:
            print(f"  {call.moment:9.3f} {call.queue:<24} {call.kind} {call.selector}", file=sys.stderr)

    def note(self, moment: float, text: str) -> None:
        """Notes something that a fake did."""
        self.notes.append((moment, text))
        if self.verbose:
            print(f"  {moment:9.3f} * {text}", file=sys.stderr)

    def sent(self, kind: str, selector: str) -> list[Call]:
        """The messages of one selector to one class."""
        return [call for call in self.calls if call.kind == kind and call.selector == selector]

    def noted(self, text: str) -> list[float]:
        """When notes were made that contain a text."""
        return [moment for moment, note in self.notes if text in note]
