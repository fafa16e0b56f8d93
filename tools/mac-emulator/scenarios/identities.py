"""Machine identifiers between our codec and the framework."""

from __future__ import annotations

import plistlib

from .bench import Bench, check, scenario


@scenario
def a_thousand_identities_of_each_kind_go_round(bench: Bench) -> None:
    """What we write the framework reads and writes back byte for byte, and the other way round."""
    run = bench.run("identifier round macos 1000", "identifier round linux 1000")
    check(run.lines.count("identifiers 1000 of 1000") == 2, run.out)


@scenario
def a_fresh_identifier_is_the_frameworks(bench: Bench) -> None:
    """It is made by the framework and written as it gave it."""
    run = bench.run("identifier new macos @mac", "identifier new linux @web")
    run.sent("VZMacMachineIdentifier", "dataRepresentation", 1)
    run.sent("VZGenericMachineIdentifier", "dataRepresentation", 1)
    mac, web = (bench.folder / "mac").read_bytes(), (bench.folder / "web").read_bytes()
    check(set(plistlib.loads(mac)) == {"ECID"} and len(mac) in (60, 68), f"the macOS identifier is {mac!r}")
    check(set(plistlib.loads(web)) == {"UUID"} and len(web) == 70, f"the Linux identifier is {web!r}")


@scenario
def a_bundles_identity_reaches_the_framework_unchanged(bench: Bench) -> None:
    """The identifier's file is neither rewritten nor replaced by a start."""
    bundle = bench.mac("mac", ecid=1)
    before = (bundle / "MachineIdentifier").read_bytes()
    run = bench.run("vm mac @mac", "start mac", "wait mac running", "kill mac", "wait mac ended")
    run.sent("VZMacMachineIdentifier", "initWithDataRepresentation:", 1)
    run.sent("+VZMacMachineIdentifier", "new", 0)
    check((bundle / "MachineIdentifier").read_bytes() == before, "the identifier was rewritten")


@scenario
def a_damaged_identifier_is_named(bench: Bench) -> None:
    """And no machine is made."""
    bundle = bench.mac("mac")
    (bundle / "MachineIdentifier").write_bytes(b"bplist00 damaged")
    run = bench.run("vm mac @mac", status=1)
    check("identity.invalid" in run.err, run.err)
    run.never_sent("initWithConfiguration:queue:")


@scenario
def a_hardware_model_that_the_host_cannot_read_is_named(bench: Bench) -> None:
    """Damaged bytes, and a version that came with macOS 15 on an older host."""
    bundle = bench.mac("mac")
    bench.host.macos = 14
    run = bench.run("vm mac @mac", "start mac", "wait mac ended")
    run.says("start failed: bundle.invalid", "HardwareModel").never_sent("initWithConfiguration:queue:")
    bench.host.macos = 15
    (bundle / "HardwareModel").write_bytes(b"bplist00 damaged")
    run = bench.run("vm mac @mac", "start mac", "wait mac ended")
    run.says("start failed: bundle.invalid").never_sent("initWithConfiguration:queue:")
