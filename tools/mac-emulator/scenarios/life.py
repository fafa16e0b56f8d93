"""Whole lives of guests."""

from __future__ import annotations

from emulator.host import Guest

from .bench import MODEL_1, QUEUE, Bench, check, scenario

WHOLE_LIFE = (
    "entitlement", "supported", "vm planted @planted", "start planted", "wait planted running", "pause planted",
    "wait planted paused", "resume planted", "wait planted running", "stop planted 5", "wait planted ended",
    "drop planted", "run 1",
)  # fmt: skip


@scenario
def a_macos_guest_lives_its_whole_life(bench: Bench) -> None:
    """Start, pause, resume, stop by its own shutdown; every object is gone afterwards."""
    bench.mac("planted")
    bench.guest("planted", Guest(obeys_stop_after=2))
    run = bench.run(*WHOLE_LIFE)
    run.says(
        "entitlement present", "supported true", "planted phase starting", "planted phase running",
        "planted phase paused", "planted phase running", "planted phase stopping", "shut down: ByGuest",
        "planted phase ended: requested",
    )  # fmt: skip
    run.sent("VZMacAuxiliaryStorage", "initWithURL:", 1)
    run.sent("VZVirtualMachine", "requestStopWithError:", 1)
    run.noted("planted: deallocated", 1)
    check(bench.host.slots_taken == 0, "a slot was kept")


@scenario
def a_linux_guest_boots_by_uefi(bench: Bench) -> None:
    """UEFI variables are made where there are none, and opened where there are some."""
    bundle = bench.linux("web")
    commands = ("vm web @web", "start web", "wait web running", "stop web 9", "wait web ended")
    run = bench.run(*commands).says("phase running", "web phase ended: requested")
    run.sent("VZEFIVariableStore", "initCreatingVariableStoreAtURL:options:error:", 1)
    made = (bundle / "NVRAM").stat().st_ino
    run = bench.run(*commands).never_sent("initCreatingVariableStoreAtURL:options:error:")
    run.sent("VZEFIVariableStore", "initWithURL:", 1)
    check((bundle / "NVRAM").stat().st_ino == made, "the variables were made anew")
    check(bench.host.slots_taken == 0, "a Linux guest took a slot")


@scenario
def a_linux_guest_boots_a_kernel(bench: Bench) -> None:
    """Kernel, initial file system and command line reach the boot loader."""
    bench.linux_by_kernel("web")
    run = bench.run("vm web @web", "start web", "wait web running", "kill web", "wait web ended")
    run.sent("VZLinuxBootLoader", "initWithKernelURL:", 1).sent("VZLinuxBootLoader", "setInitialRamdiskURL:", 1)
    run.sent("VZLinuxBootLoader", "setCommandLine:", 1).says("web phase ended: killed")
    run.never_sent("setVariableStore:")


@scenario
def a_guest_can_be_started_paused(bench: Bench) -> None:
    """The framework has no such start: the guest is paused as soon as it runs, and only then called ready."""
    bench.linux("web")
    run = bench.run("vm web @web", "start web paused", "wait web paused", "resume web", "wait web running")
    run.says("ready paused=true", "web phase paused", "web phase running").never_says("ready paused=false")


@scenario
def a_guest_starts_again_after_its_end(bench: Bench) -> None:
    """Nothing of the first life hinders the second."""
    bench.mac("mac")
    life = ("start mac", "wait mac running", "kill mac", "wait mac ended")
    run = bench.run("vm mac @mac", *life, *life)
    run.says("phase running", "phase ended: killed", "phase running", "phase ended: killed")
    run.noted("mac: deallocated", 2)


@scenario
def lives_leave_nothing_behind(bench: Bench) -> None:
    """Objects, completion handlers, memory: after more lives there is no more of them than after fewer."""
    bench.mac("mac")
    bench.linux("web")
    life = [
        *("vm mac @mac", "vm web @web", "start mac", "start web", "wait mac running", "wait web running", "pause web"),
        *(
            "wait web paused",
            "stop mac 1",
            "kill web",
            "wait mac ended",
            "wait web ended",
            "drop mac",
            "drop web",
            "run 1",
        ),
    ]
    few, many = bench.run(*life * 2), bench.run(*life * 5)
    left = {kind: count for kind, count in many.alive.items() if kind.startswith(("VZ", "Selfsame", "block"))}
    check(not any(left.values()), f"these were left: {left}")
    grown = {kind: count - few.alive[kind] for kind, count in many.alive.items() if count > few.alive[kind]}
    check(not grown, f"three lives more left more behind: {grown}")


@scenario
def a_guest_lives_on_every_supported_macos(bench: Bench) -> None:
    """No selector or class is used that the older ones lack. The emulator ends a program that does."""
    bench.mac("planted", model=MODEL_1)
    bench.linux("web")
    for version in (13, 14, 15, 26):
        bench.host.macos = version
        bench.run(*WHOLE_LIFE).says("planted phase running", "planted phase ended")
        bench.run("vm web @web", "start web", "wait web running", "kill web", "wait web ended").says("web phase ended")


@scenario
def every_touch_of_a_machine_is_on_its_queue(bench: Bench) -> None:
    """Getters and the release of the last reference too. The emulator ends a program that does otherwise."""
    bench.mac("mac")
    bench.linux("web")
    both = ("vm mac @mac", "vm web @web", "start mac", "start web", "wait mac running", "wait web running")
    run = bench.run(*both, "pause mac", "wait mac paused", "kill web", "kill mac", "wait mac ended", "wait web ended")
    touches = [call for call in run.log.calls if call.kind == "VZVirtualMachine"]
    check(len(touches) >= 8, "the machines were hardly touched")
    queues = {call.queue for call in touches}
    check(queues == {QUEUE}, f"the machines were touched on {queues}")
    run.noted("deallocated", 2)


@scenario
def the_delegate_has_exactly_the_protocols_methods(bench: Bench) -> None:
    """Selectors and type encodings: one that is misspelt compiles, and would never be called."""
    bench.linux("web")
    run = bench.run("vm web @web", "start web", "wait web running", "kill web", "wait web ended")
    kind = "SelfsameMachineDelegate"
    added = {method.selector: method.types for method in run.log.added if method.kind == kind}
    own = {selector: types for selector, types in added.items() if selector != "dealloc"}
    expected = {
        "guestDidStopVirtualMachine:": "v@:@",
        "virtualMachine:didStopWithError:": "v@:@@",
        "virtualMachine:networkDevice:attachmentWasDisconnectedWithError:": "v@:@@@",
    }
    check(own == expected, f"the delegate has {own}")
    check((kind, "VZVirtualMachineDelegate") in run.log.protocols, f"the protocols are {run.log.protocols}")
