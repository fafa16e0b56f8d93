"""How an emulated program ends before its `main` returns."""


class Ended(Exception):
    """The program is over."""


class Exited(Ended):
    """It called `exit`."""

    def __init__(self, status: int) -> None:
        super().__init__(f"exit status {status}")
        self.status = status


class Crash(Ended):
    """It would have crashed on a Mac, or a framework would have aborted it. The text says by which rule."""


class Unknown(Ended):
    """It used something that has no fake. The text names it; the cure is a new fake, or not to use it."""


class Hung(Ended):
    """It waits, and nothing that could wake it will ever happen."""
