"""Ends that nobody asked for, and ends that do not come."""

from __future__ import annotations

from emulator.host import Guest

from .bench import Bench, check, scenario

UP = ("vm vm @vm", "start vm", "wait vm running")


@scenario
def a_guest_that_powers_off_by_itself_has_ended(bench: Bench) -> None:
    """No stop is sent, and the slot is free."""
    bench.mac("vm")
    bench.guest("vm", Guest(powers_off_after=20))
    run = bench.run(*UP, "wait vm ended 60").says("shut down: ByGuest", "vm phase ended: guest")
    run.never_sent("stopWithCompletionHandler:", "requestStopWithError:").noted("vm: deallocated", 1)
    check(bench.host.slots_taken == 0, "a slot was kept")


@scenario
def a_crash_of_the_service_is_a_failure(bench: Bench) -> None:
    """The framework's error is told before the end, and the objects are let go of."""
    bench.mac("vm")
    bench.guest("vm", Guest(crashes_after=3))
    run = bench.run(*UP, "wait vm ended").says("incident: Machine", "VZError 1", "vm phase ended: crashed")
    run.noted("vm: deallocated", 1)


@scenario
def a_crash_in_the_start_is_a_failed_start(bench: Bench) -> None:
    """It is not tried again."""
    bench.mac("vm")
    bench.guest("vm", Guest(crashes_in_start=True))
    run = bench.run("vm vm @vm", "start vm", "wait vm ended")
    run.says("start failed: vz.failed", "phase ended: start_failed").sent(
        "VZVirtualMachine", "startWithCompletionHandler:", 1
    )


@scenario
def a_stop_that_the_guest_ignores_becomes_a_cut(bench: Bench) -> None:
    """A Linux guest is asked again and again, then its power is cut."""
    bench.linux("vm")
    bench.guest("vm", Guest(obeys_stop_after=None))
    run = bench.run(*UP, "stop vm 7", "wait vm ended 60").says("vm phase stopping", "vm phase ended: forced")
    run.sent("VZVirtualMachine", "stopWithCompletionHandler:", 1)
    asked, cut = (
        run.log.sent("VZVirtualMachine", name) for name in ("requestStopWithError:", "stopWithCompletionHandler:")
    )
    check(len(asked) > 3, f"it was asked {len(asked)} times")
    check(6.5 < cut[0].moment - asked[0].moment < 7.5, "its power was not cut in time")


@scenario
def a_macos_guest_is_asked_once(bench: Bench) -> None:
    """Each request is a dialog on its screen."""
    bench.mac("vm")
    run = bench.run(*UP, "stop vm 7", "wait vm ended 60").says("vm phase ended: forced")
    run.sent("VZVirtualMachine", "requestStopWithError:", 1).noted("shows a dialog", 1)


@scenario
def a_stop_that_never_completes_is_given_up(bench: Bench) -> None:
    """The machine is let go of after the grace, and its lock and slot with it."""
    bench.mac("vm")
    bench.guest("vm", Guest(stop_hangs=True))
    run = bench.run(*UP, "kill vm", "wait vm ended 60").noted("the stop hangs", 1)
    run.says("vm phase ended: killed").noted("vm: deallocated while stopping", 1)
    check(bench.host.slots_taken == 0, "a slot was kept")


@scenario
def a_kill_is_immediate(bench: Bench) -> None:
    """The guest is not asked."""
    bench.linux("vm")
    run = bench.run(*UP, "kill vm", "wait vm ended").says("vm phase ended: killed")
    run.never_sent("requestStopWithError:").sent("VZVirtualMachine", "stopWithCompletionHandler:", 1)


@scenario
def an_end_is_told_once(bench: Bench) -> None:
    """Also by a framework that tells the delegate of a stop that the program asked for."""
    bench.linux("vm")
    bench.host.stop_tells_delegate = True
    run = bench.run(*UP, "kill vm", "wait vm ended", "run 2")
    ends = [line for line in run.lines if "event exited" in line]
    check(len(ends) == 1, f"the end was told {len(ends)} times:\n{run.out}")


@scenario
def a_kill_in_the_start_ends_it(bench: Bench) -> None:
    """The machine is switched off as soon as it can be, and the end is told when it is off and let go of."""
    bench.mac("vm")
    run = bench.run("vm vm @vm", "start vm", "run 0.1", "kill vm", "wait vm ended 60")
    run.never_says("vm phase running").noted("vm: stopped", 1).noted("vm: deallocated", 1)
    run.says("vm event exited: Code(0)", "vm phase ended: killed")
    check(bench.host.slots_taken == 0, "a slot was kept")


@scenario
def a_kill_while_it_is_being_paused_is_a_cut(bench: Bench) -> None:
    """The framework refuses to switch it off until it stands still; then it is told again, and not given up."""
    bench.mac("vm")
    run = bench.run(*UP, "pause vm", "kill vm", "wait vm ended 5").says("exited: Code(0)", "vm phase ended: killed")
    run.sent("VZVirtualMachine", "stopWithCompletionHandler:", 2).noted("vm: deallocated while", 0)


@scenario
def a_machine_that_is_forgotten_while_it_runs_leaves_nothing(bench: Bench) -> None:
    """As at the end of a supervisor."""
    bench.mac("vm")
    bench.run(*UP, "drop vm", "run 5").noted("vm: deallocated", 1)
    check(bench.host.slots_taken == 0, "a slot was kept")
