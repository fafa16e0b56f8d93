"""Runs a program once, with this terminal as its standard input and output.

    python emulate.py PROGRAM [ARGUMENT ...]

The environment chooses the Mac: MAC_VERSION (15), MAC_SUPPORTED (1), MAC_LOG (0: no log of calls). Exits with the
program's status; 99 when it did not end by itself.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from emulator.files import Files
from emulator.host import Host
from emulator.image import BadImage, Image
from emulator.world import World


def main(arguments: list[str]) -> int:
    """Runs it."""
    if not arguments:
        print(__doc__, file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        host = Host(
            Path(folder),
            macos=int(os.environ.get("MAC_VERSION", "15")),
            supported=os.environ.get("MAC_SUPPORTED", "1") != "0",
            verbose=os.environ.get("MAC_LOG", "1") != "0",
            environment={name: value for name, value in os.environ.items() if name.startswith("RUST")},
        )
        try:
            image = Image.read(Path(arguments[0]))
        except (BadImage, OSError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 99
        result = World(image, host, Files.inherited(), arguments[1:]).run()
    if result.failure is not None:
        print(f"error: {result.failure}", file=sys.stderr)
        return 99
    return result.status or 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
