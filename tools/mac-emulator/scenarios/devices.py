"""Devices: the network, the serial console, the port on which a guest reports."""

from __future__ import annotations

from emulator.host import Guest

from .bench import Bench, check, scenario

UP = ("vm vm @vm", "start vm", "wait vm running")


@scenario
def a_lost_network_is_told_and_the_guest_runs_on(bench: Bench) -> None:
    """It is an incident, not an end."""
    bench.linux("vm")
    bench.guest("vm", Guest(loses_network_after=3))
    run = bench.run(*UP, "run 5", "stop vm 9", "wait vm ended").says("incident: Network", "vm phase ended: requested")
    run.says("VZError 7")


@scenario
def a_flood_on_the_serial_console_does_not_stop_the_guest(bench: Bench) -> None:
    """All of it is in the log, and the guest still obeys."""
    bundle = bench.linux("vm")
    bench.guest("vm", Guest(floods=5_000_000))
    run = bench.run(*UP, "run 30", "stop vm 9", "wait vm ended").says("vm phase ended: requested")
    run.noted("hangs at its serial port", 0)
    check((bundle / "Logs" / "console.log").stat().st_size == 5_000_000, "a part of the log is missing")


@scenario
def the_console_log_is_appended_to(bench: Bench) -> None:
    """What earlier lives wrote stays."""
    bundle = bench.linux("vm")
    (bundle / "Logs").mkdir()
    (bundle / "Logs" / "console.log").write_bytes(b"earlier\n")
    bench.guest("vm", Guest(floods=10))
    bench.run(*UP, "run 1", "kill vm", "wait vm ended")
    check((bundle / "Logs" / "console.log").read_bytes() == b"earlier\n" + b"x" * 10, "the log was not appended to")


@scenario
def a_flood_on_the_report_port_does_not_stop_the_guest(bench: Bench) -> None:
    """The port is read for as long as the guest runs."""
    bench.linux("vm")
    bench.guest("vm", Guest(writes={"org.selfsame.report.0": b"x" * 3_000_000}))
    run = bench.run(*UP, "run 60", "stop vm 9", "wait vm ended").says("vm phase ended: requested")
    run.noted("the guest has written everything", 1)


@scenario
def the_mac_address_is_the_bundles(bench: Bench) -> None:
    """Two starts, one address; and none of the framework's random ones."""
    bench.linux("vm", toml='mac_address = "06:e8:a3:b0:23:b4"\n')
    run = bench.run(*UP, "kill vm", "wait vm ended").never_sent("randomLocallyAdministeredAddress")
    run.sent("VZMACAddress", "initWithString:", 1).sent("VZVirtioNetworkDeviceConfiguration", "setMACAddress:", 1)
