"""Runs the scenarios against `vz-drive`.

    python run.py --binary PATH [--only TEXT] [-v] [--expect-abort TEXT]

Needs Python 3.11 and the package `unicorn` (2.1). Prints a line for each scenario and exits 1 if one failed. With
`--expect-abort` it runs one whole life instead and fails unless the emulator ends the program for a reason with that
text: for programs with a fault that was planted to see whether it would be found.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from emulator.image import BadImage, Image
from scenarios import devices, ends, identities, life, refusals, states
from scenarios.bench import SCENARIOS, Bench, Failed, Scenario

# The scenarios run in this order; each module registered its own when it was imported.
MODULES = (life, identities, refusals, ends, states, devices)


def attempt(image: Image, scenario: Scenario, verbose: bool) -> str | None:
    """Runs one scenario in a folder of its own; says what failed."""
    with tempfile.TemporaryDirectory(prefix="mac-") as folder:
        bench = Bench(image, Path(folder))
        bench.host.verbose = verbose
        try:
            scenario(bench)
        except Failed as failure:
            return str(failure)
    return None


def in_order() -> list[tuple[str, Scenario]]:
    """All scenarios, module by module."""
    names = [module.__name__ for module in MODULES]
    return sorted(SCENARIOS.items(), key=lambda item: names.index(item[1].__module__))


def run_all(image: Image, only: str, verbose: bool) -> int:
    """Runs the scenarios whose names contain `only`."""
    failures = count = 0
    for name, scenario in in_order():
        if only not in name:
            continue
        count += 1
        began = time.monotonic()
        failure = attempt(image, scenario, verbose)
        if failure is None:
            print(f"ok {name} ({time.monotonic() - began:.2f} s)", flush=True)
        else:
            failures += 1
            print(f"FAILED {name}: {failure}", flush=True)
    if count == 0:
        print(f"error: no scenario has `{only}` in its name", file=sys.stderr)
        return 1
    print(f"{count - failures} of {count} scenarios passed")
    return 1 if failures else 0


def expect_abort(image: Image, text: str, verbose: bool) -> int:
    """Lives one whole life that must be ended by the emulator."""
    with tempfile.TemporaryDirectory(prefix="mac-") as folder:
        bench = Bench(image, Path(folder))
        bench.host.verbose = verbose
        bench.mac("planted")
        result = bench.world(*life.WHOLE_LIFE).run()
    if result.failure is not None and text in str(result.failure):
        print(f"ok the fault was found: {result.failure}")
        return 0
    print(f"FAILED no abort with `{text}`, but {result.failure or f'exit status {result.status}'}")
    return 1


def main() -> int:
    """Reads the arguments and runs."""
    parser = argparse.ArgumentParser(description="Runs vz-drive on an emulated Mac.")
    parser.add_argument("--binary", type=Path, required=True, help="the signed arm64 Mach-O program vz-drive")
    parser.add_argument("--only", default="", metavar="TEXT", help="only scenarios with this text in their names")
    parser.add_argument("--expect-abort", metavar="TEXT", help="one run that must be ended for a reason with this text")
    parser.add_argument("-v", "--verbose", action="store_true", help="print every call")
    arguments = parser.parse_args()
    try:
        image = Image.read(arguments.binary)
    except (BadImage, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if arguments.expect_abort is not None:
        return expect_abort(image, arguments.expect_abort, arguments.verbose)
    return run_all(image, arguments.only, arguments.verbose)


if __name__ == "__main__":
    sys.exit(main())
