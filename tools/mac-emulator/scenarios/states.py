"""Saved states."""

from __future__ import annotations

from .bench import ECID, Bench, check, scenario

SAVE = ("vm vm @vm", "start vm", "wait vm running", "pause vm", "wait vm paused", "save vm @state", "run 3")
RESTORE = (
    "vm vm @vm",
    "restore vm @state",
    "wait vm paused",
    "resume vm",
    "wait vm running",
    "kill vm",
    "wait vm ended",
)


@scenario
def a_saved_guest_goes_on(bench: Bench) -> None:
    """Save, kill; restore in another process, resume."""
    bench.mac("vm")
    bench.run(*SAVE, "kill vm", "wait vm ended").says("vm event saved", "vm phase ended: killed")
    run = bench.run(*RESTORE).says("ready paused=true", "vm phase paused", "vm phase running", "vm phase ended: killed")
    run.never_sent("startWithCompletionHandler:")


@scenario
def another_machines_state_is_refused(bench: Bench) -> None:
    """The framework compares the configuration; the guest does not start."""
    bench.mac("vm")
    bench.run(*SAVE, "kill vm", "wait vm ended")
    bench.mac("other", ecid=ECID + 1)
    run = bench.run("vm other @other", "restore other @state", "wait other ended")
    run.says("start failed: vz.failed", "VZError 12", "other phase ended: start_failed").noted("other: deallocated", 1)


@scenario
def a_damaged_state_is_refused(bench: Bench) -> None:
    """And its file stays."""
    bench.mac("vm")
    (bench.folder / "state").write_bytes(b"damaged")
    run = bench.run("vm vm @vm", "restore vm @state", "wait vm ended").says("start failed: vz.failed", "VZError 12")
    check((bench.folder / "state").read_bytes() == b"damaged", "the state was touched")
    check("vm phase paused" not in run.out, run.out)


@scenario
def macos_13_cannot_save_and_is_not_asked_to(bench: Bench) -> None:
    """The refusal says which macOS can; no selector is sent that it does not have."""
    bench.linux("vm")
    bench.host.macos = 13
    run = bench.run("supported", *SAVE, "kill vm", "wait vm ended")
    run.says("saves false", "save failed: vz.unsupported").says("macOS 14")
    run.never_sent("saveMachineStateToURL:completionHandler:", "validateSaveRestoreSupportWithError:")
    bench.run("vm vm @vm", "restore vm @state", "wait vm ended").says("start failed: vz.unsupported")


@scenario
def a_guest_whose_devices_cannot_be_saved_says_so(bench: Bench) -> None:
    """It runs, and refuses to be saved."""
    bench.linux("vm")
    bench.host.unsaveable = True
    run = bench.run(*SAVE, "kill vm", "wait vm ended").says("save failed: vz.failed")
    run.never_sent("saveMachineStateToURL:completionHandler:").says("vm phase ended: killed")


@scenario
def a_running_guest_is_not_saved(bench: Bench) -> None:
    """The framework refuses it, and the guest runs on; nothing is left of the file."""
    bench.linux("vm")
    run = bench.run("vm vm @vm", "start vm", "wait vm running", "save vm @state", "run 3", "kill vm", "wait vm ended")
    run.says("save failed: vz.failed", "VZError 4", "vm phase ended: killed")
    check(not (bench.folder / "state").exists(), "half a state was left")


@scenario
def a_state_is_not_overwritten(bench: Bench) -> None:
    """A file that is there is somebody's."""
    bench.linux("vm")
    (bench.folder / "state").write_bytes(b"mine")
    bench.run(*SAVE, "kill vm", "wait vm ended").says("save failed")
    check((bench.folder / "state").read_bytes() == b"mine", "the file was overwritten")
