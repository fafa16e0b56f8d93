"""Virtual time: it goes on when the program waits, and a microsecond each time it looks."""

from __future__ import annotations

SECOND = 1_000_000_000
# 2026-01-01 00:00:00 UTC; the machine has been up for a thousand seconds.
EPOCH = 1_767_225_600 * SECOND
UPTIME = 1_000 * SECOND
LOOK = 1_000


class Clock:
    """Nanoseconds since the program began."""

    def __init__(self) -> None:
        self.now = 0

    def look(self) -> int:
        """The time as the program reads it."""
        self.now += LOOK
        return self.now

    @property
    def seconds(self) -> float:
        """The time for people."""
        return self.now / SECOND
