"""Starts that are refused."""

from __future__ import annotations

import fcntl
import os
import time

from emulator.clock import SECOND
from emulator.image import BadImage, Image

from .bench import MODEL_1, Bench, check, scenario


def lock(path: os.PathLike[str]) -> int:
    """Holds a file as the service of another tool's machine does."""
    descriptor = os.open(path, os.O_RDWR)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


@scenario
def a_program_changed_after_signing_is_not_run(bench: Bench) -> None:
    """As macOS would kill it."""
    changed = bytearray(bench.image.data)
    changed[len(changed) // 2] ^= 1
    (bench.folder / "changed").write_bytes(changed)
    try:
        Image.read(bench.folder / "changed")
    except BadImage as error:
        check("changed after signing" in str(error), str(error))
    else:
        check(False, "the changed program was accepted")


@scenario
def a_program_without_the_entitlement_says_so(bench: Bench) -> None:
    """Before the framework is asked for anything."""
    bench.linux("web")
    bench.host.grants_entitlements = False
    run = bench.run("entitlement", "vm web @web", status=1).says("entitlement missing")
    check("vz.unentitled" in run.err and "codesign" in run.err, run.err)
    run.never_sent("validateWithError:", "initWithConfiguration:queue:")


@scenario
def a_host_that_cannot_run_guests_says_so(bench: Bench) -> None:
    """`isSupported` is asked before a configuration is made."""
    bench.linux("web")
    bench.host.supported = False
    run = bench.run("supported", "vm web @web", "start web", "wait web ended")
    run.says("supported false", "start failed: vz.unsupported").never_sent("initWithConfiguration:queue:")


@scenario
def a_guest_of_a_newer_hardware_model_is_refused(bench: Bench) -> None:
    """The host says that it does not support the model."""
    bench.mac("mac", model=MODEL_1)
    bench.host.runs_model = False
    run = bench.run("vm mac @mac", "start mac", "wait mac ended")
    run.says("start failed: vz.unsupported", "phase ended: start_failed").never_sent("validateWithError:")


@scenario
def a_twin_elsewhere_refuses_the_start_after_15_s(bench: Bench) -> None:
    """Another process holds the auxiliary storage: tries go on for 15 s of virtual time, then the twin is named."""
    bundle = bench.mac("mac")
    holder = lock(bundle / "AuxiliaryStorage")
    began = time.monotonic()
    run = bench.run("vm mac @mac", "start mac", "wait mac ended 60")
    os.close(holder)
    run.says("start failed: bundle.in_use", "phase ended: start_failed")
    tries = run.log.sent("VZVirtualMachineConfiguration", "validateWithError:")
    check(len(tries) == 7, f"{len(tries)} tries")
    check(abs(tries[-1].moment - tries[0].moment - 15) < 0.1, f"the tries took {tries[-1].moment - tries[0].moment} s")
    check(time.monotonic() - began < 5, "the wait was a real one")
    run.never_sent("startWithCompletionHandler:")


@scenario
def a_lock_that_goes_away_lets_the_start_succeed(bench: Bench) -> None:
    """The file is free after 2 s, and the next try starts the guest."""
    bundle = bench.mac("mac")
    holder = lock(bundle / "AuxiliaryStorage")
    world = bench.world("vm mac @mac", "start mac", "wait mac running 60", "kill mac", "wait mac ended")
    other = world.dispatch.create("another tool")
    world.dispatch.submit(other, lambda: os.close(holder), 2 * SECOND)
    run = bench.finish(world)
    run.says("phase running", "phase ended: killed").never_says("start failed")
    check(len(run.log.sent("VZVirtualMachineConfiguration", "validateWithError:")) == 5, "not the fifth try")


@scenario
def a_start_that_waits_is_forgotten_with_its_machine(bench: Bench) -> None:
    """The file is free after 2 s, and nobody is left who would drive the guest."""
    holder = lock(bench.mac("mac") / "AuxiliaryStorage")
    world = bench.world("vm mac @mac", "start mac", "run 0.1", "drop mac", "run 20")
    other = world.dispatch.create("another tool")
    world.dispatch.submit(other, lambda: os.close(holder), 2 * SECOND)
    bench.finish(world).never_sent("initWithConfiguration:queue:")


@scenario
def a_lock_that_outlives_its_machine_is_waited_for(bench: Bench) -> None:
    """A start right after an end meets the lock of the life before, for 8 s."""
    bench.mac("mac")
    bench.host.lock_outlives = 8
    life = ("start mac", "wait mac running 60", "kill mac", "wait mac ended")
    run = bench.run("vm mac @mac", *life, *life)
    run.says("phase ended: killed", "phase running", "phase ended: killed").noted("validation", 6)


@scenario
def a_lock_that_only_the_start_meets_is_waited_for(bench: Bench) -> None:
    """Another tool locks the file after the validation, for 3 s: the machine is let go of and made anew."""
    storage = bench.mac("mac") / "AuxiliaryStorage"
    world = bench.world("vm mac @mac", "start mac", "wait mac running 60", "kill mac", "wait mac ended")
    other = world.dispatch.create("another tool")
    held: list[int] = []
    world.dispatch.submit(other, lambda: held.append(lock(storage)), SECOND // 5)
    world.dispatch.submit(other, lambda: os.close(held[0]), 3 * SECOND)
    run = bench.finish(world).says("phase running", "phase ended: killed").never_says("start failed")
    run.sent("VZVirtualMachine", "startWithCompletionHandler:", 2).noted("mac: deallocated", 2)


@scenario
def two_bundles_in_one_process_exclude_each_other_by_their_storage(bench: Bench) -> None:
    """The same bundle under two names: the second start is refused, the first goes on."""
    bench.mac("mac")
    run = bench.run(
        "vm one @mac", "vm two @mac", "start one", "wait one running", "start two", "wait two ended 60", "kill one",
        "wait one ended",
    )  # fmt: skip
    run.says("one phase running", "two event start failed: bundle.in_use", "one phase ended: killed")


@scenario
def the_third_macos_guest_meets_the_quota(bench: Bench) -> None:
    """Two run, the third is refused by the kernel; a Linux guest still starts."""
    for index in range(3):
        bench.mac(f"m{index}", ecid=index + 1)
    bench.linux("web")
    commands = [f"vm m{index} @m{index}" for index in range(3)]
    commands += ["vm web @web", "start m0", "start m1", "wait m0 running", "wait m1 running", "start m2"]
    commands += ["wait m2 ended", "start web", "wait web running", "kill m0", "wait m0 ended", "start m2"]
    run = bench.run(*commands, "wait m2 running", *(f"kill {name}" for name in ("m1", "m2", "web")), "run 2")
    run.says("m0 phase running", "m2 event start failed: quota.full", "web phase running", "m2 phase running")
    check(bench.host.slots_taken == 0, "a slot was kept")


@scenario
def the_quota_is_known_in_all_its_forms(bench: Bench) -> None:
    """With the text of Monterey, and below another error."""
    bench.mac("mac")
    bench.host.change_slots(1)
    bench.host.change_slots(1)
    for form in ("plain", "monterey", "nested"):
        bench.host.limit_shows = form
        bench.run("vm mac @mac", "start mac", "wait mac ended").says("start failed: quota.full")


@scenario
def a_leak_of_slots_is_seen(bench: Bench) -> None:
    """The limit is met while no guest runs: the advice names that case."""
    bench.mac("mac")
    bench.host.leaks_slots = True
    life = ("start mac", "wait mac running", "kill mac", "wait mac ended")
    run = bench.run("vm mac @mac", *life, *life, "start mac", "wait mac ended")
    run.says("phase running", "phase running", "start failed: quota.full", "phase ended: start_failed")
    check(bench.host.slots_taken == 2, "the slots were given back")


@scenario
def a_locked_keychain_is_explained(bench: Bench) -> None:
    """The framework calls it an internal error; what lies below it says more."""
    bench.mac("mac")
    bench.host.keychain_locked = True
    run = bench.run("vm mac @mac", "start mac", "wait mac ended")
    run.says("start failed: vz.keychain").says("security unlock-keychain")


@scenario
def a_disk_that_is_missing_or_no_image_is_named(bench: Bench) -> None:
    """Before a machine is made."""
    disk = bench.linux("web") / "Disk.img"
    for content in (None, b"", b"x" * 100):
        disk.unlink(missing_ok=True)
        if content is not None:
            disk.write_bytes(content)
        run = bench.run("vm web @web", "start web", "wait web ended").says("start failed: vz.failed")
        run.says("VZError 5").never_sent("initWithConfiguration:queue:")


@scenario
def what_the_validation_refuses_is_passed_on(bench: Bench) -> None:
    """More processors than the host allows."""
    bench.linux("web", toml="cpus = 200\n")
    run = bench.run("vm web @web", "start web", "wait web ended").says("start failed: vz.failed")
    run.says("number of virtual CPUs").never_sent("initWithConfiguration:queue:")


@scenario
def auxiliary_storage_is_never_made_anew(bench: Bench) -> None:
    """Neither by a start nor by a refused one; and without it there is no start."""
    file = bench.mac("mac") / "AuxiliaryStorage"
    before = (file.read_bytes(), file.stat().st_ino)
    bench.run("vm mac @mac", "start mac", "wait mac running", "kill mac", "wait mac ended").never_sent(CREATE)
    holder = lock(file)
    bench.run("vm mac @mac", "start mac", "wait mac ended 60").never_sent(CREATE)
    os.close(holder)
    check((file.read_bytes(), file.stat().st_ino) == before, "the auxiliary storage changed")
    file.unlink()
    run = bench.run("vm mac @mac", status=1).never_sent(CREATE)
    check("bundle.invalid" in run.err and "AuxiliaryStorage" in run.err, run.err)
    check(not file.exists(), "the auxiliary storage was made")


CREATE = "initCreatingStorageAtURL:hardwareModel:options:error:"
