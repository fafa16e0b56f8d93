"""VZVirtualMachine: its states, what may be done in each, and that it is touched on its queue only.

    stopped --start--> starting --> running --pause--> pausing --> paused --resume--> resuming --> running
    paused --save--> saving --> paused            stopped --restore--> restoring --> paused
    running, paused --stop--> stopping --> stopped      running --request stop--> running (--> stopped by the guest)
    any --the service dies--> error

Completion handlers are called once, later, on the queue; the delegate on the queue after the change. A machine is kept
by what it is just doing, but for a stop that hangs. The configuration is copied when the machine is made.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..clock import SECOND
from ..errors import Crash, Unknown
from ..foundation import array_of, set_error
from ..kinds import kind, method
from . import errors
from .configuration import auxiliary_storage, bundle, digest, fault, is_mac
from .devices import items, ports_of
from .service import Service

if TYPE_CHECKING:
    from ..objc import Class, Instance
    from ..world import World

STOPPED, RUNNING, PAUSED, ERROR, STARTING, PAUSING, RESUMING, STOPPING, SAVING, RESTORING = range(10)
NAMES = (
    "stopped", "running", "paused", "error", "starting", "pausing", "resuming", "stopping", "saving", "restoring",
)  # fmt: skip

# What NSObject has may be asked anywhere; so may the initialisers.
ANYWHERE = {
    "retain", "release", "autorelease", "self", "class", "hash", "isEqual:", "isKindOfClass:", "respondsToSelector:",
    "conformsToProtocol:", "initWithConfiguration:queue:", "initWithConfiguration:",
}  # fmt: skip

Then = Callable[[], None]


class Vm:
    """One machine behind its object."""

    def __init__(self, world: World, instance: Instance, configuration: Instance, queue: int) -> None:
        self.world = world
        self.instance = instance
        self.queue = world.dispatch.at(queue)
        if self.queue.concurrent:
            raise Crash("a VZVirtualMachine needs a serial queue")
        self.state = STOPPED
        self.is_mac = is_mac(configuration)
        self.auxiliary_storage = auxiliary_storage(configuration)
        self.bundle = bundle(configuration)
        self.digest = digest(configuration)
        self.fault = fault(world, configuration)
        serial = items(configuration, "serialPorts")
        self.serial: Instance | None = serial[0].get("attachment") if serial else None
        self.ports: dict[str, Instance] = {}
        for device in items(configuration, "consoleDevices"):
            for port in ports_of(device):
                if port.get("name") and port.get("attachment"):
                    self.ports[port["name"]["text"]] = port["attachment"]
        self.cards = len(items(configuration, "networkDevices"))
        self.service = Service(world, self)
        self.gone = False

    def change(self, state: int) -> None:
        """Changes the state."""
        self.state = state
        self.service.note(NAMES[state])

    # Completion handlers.

    def later(self, seconds: float, work: Then) -> None:
        """Does something on the queue, and keeps the object until then."""
        runtime = self.world.runtime
        runtime.retain(self.instance)

        def run() -> None:
            work()
            runtime.release(self.instance)

        self.world.dispatch.submit(self.queue, run, int(seconds * SECOND))

    def complete(self, block: int, error: Instance | None = None) -> None:
        """Calls a completion handler that was copied, and lets go of it. Only on the queue."""
        if error is not None:
            self.world.runtime.autorelease(error)
        self.world.runtime.blocks.call(block, error.address if error is not None else 0)
        self.world.runtime.blocks.release(block)

    def operate(self, name: str, block: int, allowed: tuple[int, ...], during: int, seconds: float, work: Then) -> None:
        """An operation with a completion handler: refused in other states than `allowed`."""
        copy = self.world.runtime.blocks.copy(block)
        if self.state not in allowed:
            reason = f"Transition from state “{NAMES[self.state]}” by “{name}” is invalid."
            self.later(0, lambda: self.complete(copy, errors.vz_error(self.world, errors.TRANSITION, reason)))
            return
        self.change(during)
        self.pending = copy
        self.later(seconds, work)

    # The copied handler of the operation under way.
    pending = 0

    def finish(self, state: int, error: Instance | None = None) -> None:
        """Ends the operation under way."""
        block, self.pending = self.pending, 0
        self.change(state)
        self.complete(block, error)

    # The delegate.

    def tell(self, selector: str, *arguments: Instance) -> None:
        """Sends the delegate a message, if there is one that has the method."""
        delegate: Instance | None = self.instance.get("delegate")
        # The reference is weak: a delegate that is gone has no count.
        if delegate is None or delegate.count == 0:
            return
        if any(selector in class_.implementations for class_ in delegate.class_.chain()):
            self.service.note(f"delegate {selector}")
            values = [self.instance.address, *[argument.address for argument in arguments]]
            self.world.runtime.send(delegate.address, selector, values)

    def guest_powered_off(self) -> None:
        """The guest switched its machine off."""
        if self.gone or self.state not in (RUNNING,):
            return
        self.service.power_off()
        self.change(STOPPED)
        self.tell("guestDidStopVirtualMachine:")

    def service_crashed(self) -> None:
        """The service that runs the guest died."""
        if self.gone or self.state in (STOPPED, ERROR):
            return
        self.service.power_off()
        self.change(ERROR)
        reason = "The virtual machine stopped unexpectedly."
        error = self.world.runtime.autorelease(errors.vz_error(self.world, errors.INTERNAL, reason))
        self.tell("virtualMachine:didStopWithError:", error)

    def network_lost(self) -> None:
        """The first network card lost its attachment."""
        if self.gone or not self.cards:
            return
        reason = "The network attachment was disconnected."
        error = self.world.runtime.autorelease(errors.vz_error(self.world, errors.NETWORK, reason))
        device = self.world.runtime.temporary("VZNetworkDevice", vm=self)
        self.tell("virtualMachine:networkDevice:attachmentWasDisconnectedWithError:", device, error)

    # Operations.

    def refusal(self) -> Instance | None:
        """Takes what a start needs; why it cannot be had."""
        world = self.world
        if self.fault is not None:
            return errors.vz_error(world, errors.CONFIGURATION, self.fault)
        if world.host.keychain_locked and world.host.macos >= 15 and self.is_mac:
            return errors.keychain(world)
        missing = self.service.acquire()
        if missing == "lock":
            return errors.locked(world)
        if missing == "slot":
            self.service.note("no slot is free")
            return errors.limit(world)
        return None

    def start(self, block: int) -> None:
        """`startWithCompletionHandler:`."""

        def work() -> None:
            refused = self.refusal()
            if refused is not None:
                self.finish(STOPPED, refused)
            elif self.service.guest.crashes_in_start:
                self.service.power_off()
                reason = "The virtual machine failed to start."
                self.finish(ERROR, errors.vz_error(self.world, errors.INTERNAL, reason))
            else:
                self.service.begin()
                self.finish(RUNNING)

        self.operate("start", block, (STOPPED, ERROR), STARTING, self.service.guest.starts_after, work)

    def pause(self, block: int) -> None:
        """`pauseWithCompletionHandler:`."""
        self.operate("pause", block, (RUNNING,), PAUSING, 0.02, lambda: self.finish_if(PAUSING, PAUSED))

    def resume(self, block: int) -> None:
        """`resumeWithCompletionHandler:`."""
        self.operate("resume", block, (PAUSED,), RESUMING, 0.02, lambda: self.finish_if(RESUMING, RUNNING))

    def finish_if(self, during: int, state: int) -> None:
        """Ends the operation under way, or tells that the guest ended in it."""
        if self.state == during:
            self.finish(state)
        else:
            reason = "The virtual machine stopped."
            self.finish(self.state, errors.vz_error(self.world, errors.INTERNAL, reason))

    def stop(self, block: int) -> None:
        """`stopWithCompletionHandler:`: cuts the power."""
        if self.service.guest.stop_hangs and self.state in (RUNNING, PAUSED):
            # The handler is kept for ever, the object is not.
            self.world.runtime.blocks.copy(block)
            self.change(STOPPING)
            self.service.note("the stop hangs")
            return

        def work() -> None:
            self.service.power_off()
            self.finish(STOPPED)
            if self.world.host.stop_tells_delegate:
                self.tell("guestDidStopVirtualMachine:")

        self.operate("stop", block, (RUNNING, PAUSED), STOPPING, 0.1, work)

    def save(self, path: str, block: int) -> None:
        """`saveMachineStateToURL:completionHandler:`."""

        def work() -> None:
            try:
                with open(path, "w", encoding="ascii") as file:
                    json.dump({"digest": self.digest}, file)
            except OSError as failure:
                reason = f"The state cannot be written: {failure.strerror}."
                self.finish(PAUSED, errors.vz_error(self.world, errors.SAVE, reason))
                return
            self.finish(PAUSED)

        self.operate("save", block, (PAUSED,), SAVING, 1.5, work)

    def restore(self, path: str, block: int) -> None:
        """`restoreMachineStateFromURL:completionHandler:`."""

        def work() -> None:
            try:
                with open(path, encoding="ascii") as file:
                    saved = json.load(file)["digest"]
            except (OSError, ValueError, KeyError):
                reason = "The state cannot be read."
                self.finish(STOPPED, errors.vz_error(self.world, errors.RESTORE, reason))
                return
            if saved != self.digest:
                reason = "The state is of a machine of another configuration."
                self.finish(STOPPED, errors.vz_error(self.world, errors.RESTORE, reason))
                return
            refused = self.refusal()
            if refused is None:
                self.service.begin()
            self.finish(STOPPED if refused is not None else PAUSED, refused)

        self.operate("restore", block, (STOPPED,), RESTORING, 1.0, work)


def guard(world: World, self: Instance, selector: str) -> None:
    """Ends the program when it touches a machine or a device of one off its queue."""
    if selector in ANYWHERE:
        return
    vm: Vm | None = self.get("vm")
    if vm is not None and world.dispatch.current is not vm.queue:
        raise Crash(f"-[{self.kind} {selector}] was called on {world.dispatch.label()}, not on the machine's queue")


def finalize(world: World, self: Instance) -> None:
    """The last reference is gone: a guest that runs is switched off."""
    vm: Vm | None = self.get("vm")
    if vm is None:
        return
    if world.dispatch.current is not vm.queue:
        raise Crash(f"a VZVirtualMachine was let go of on {world.dispatch.label()}, not on the machine's queue")
    vm.gone = True
    vm.service.note("deallocated" if vm.state in (STOPPED, ERROR) else f"deallocated while {NAMES[vm.state]}")
    vm.service.let_go()
    world.runtime.release(vm.queue.instance)


vz = kind("VZVirtualMachine", plain=False)
vz.guard, vz.finalize = guard, finalize
kind("VZNetworkDevice", plain=False).guard = guard


@method("+VZVirtualMachine", "isSupported", "B")
def _supported(world: World, _self: Class) -> bool:
    return world.host.supported


@method("VZVirtualMachine", "initWithConfiguration:queue:", "!@*")
def _init(world: World, self: Instance, configuration: Instance, queue: int) -> Instance:
    self.fields["vm"] = vm = Vm(world, self, configuration, queue)
    world.runtime.retain(vm.queue.instance)
    for attachment in (vm.serial, *vm.ports.values()):
        if attachment is not None:
            world.runtime.hold(self, f"attachment {attachment.address:#x}", attachment)
    return self


@method("VZVirtualMachine", "initWithConfiguration:", "!@")
def _init_main(_world: World, _self: Instance, _configuration: Instance) -> Instance:
    raise Unknown("a VZVirtualMachine on the main queue is not emulated")


@method("VZVirtualMachine", "state", "q")
def _state(_world: World, self: Instance) -> int:
    return int(self["vm"].state)


def can(selector: str, *states: int) -> None:
    """A property that tells whether an operation fits the state."""

    @method("VZVirtualMachine", selector, "B")
    def _can(_world: World, self: Instance) -> bool:
        return self["vm"].state in states


can("canStart", STOPPED, ERROR)
can("canPause", RUNNING)
can("canResume", PAUSED)
can("canStop", RUNNING, PAUSED)
can("canRequestStop", RUNNING)


@method("VZVirtualMachine", "setDelegate:", "v@")
def _set_delegate(_world: World, self: Instance, delegate: Instance | None) -> None:
    # Weak: not held.
    self.fields["delegate"] = delegate


@method("VZVirtualMachine", "delegate", "@")
def _delegate(_world: World, self: Instance) -> Instance | None:
    delegate: Instance | None = self.get("delegate")
    return delegate if delegate is not None and delegate.count else None


@method("VZVirtualMachine", "networkDevices", "$")
def _network_devices(world: World, self: Instance) -> Instance:
    devices = [world.runtime.temporary("VZNetworkDevice", vm=self["vm"]) for _ in range(self["vm"].cards)]
    return array_of(world, devices)


@method("VZVirtualMachine", "startWithCompletionHandler:", "v?")
def _start(_world: World, self: Instance, block: int) -> None:
    self["vm"].start(block)


@method("VZVirtualMachine", "pauseWithCompletionHandler:", "v?")
def _pause(_world: World, self: Instance, block: int) -> None:
    self["vm"].pause(block)


@method("VZVirtualMachine", "resumeWithCompletionHandler:", "v?")
def _resume(_world: World, self: Instance, block: int) -> None:
    self["vm"].resume(block)


@method("VZVirtualMachine", "stopWithCompletionHandler:", "v?", since=12)
def _stop(_world: World, self: Instance, block: int) -> None:
    self["vm"].stop(block)


@method("VZVirtualMachine", "requestStopWithError:", "B*")
def _request_stop(world: World, self: Instance, error: int) -> bool:
    vm: Vm = self["vm"]
    if vm.state != RUNNING:
        reason = f"A machine that is {NAMES[vm.state]} cannot be asked to stop."
        set_error(world, error, errors.vz_error(world, errors.TRANSITION, reason))
        return False
    vm.service.press_power()
    return True


@method("VZVirtualMachine", "saveMachineStateToURL:completionHandler:", "v@?", since=14)
def _save(_world: World, self: Instance, url: Instance, block: int) -> None:
    self["vm"].save(url["path"], block)


@method("VZVirtualMachine", "restoreMachineStateFromURL:completionHandler:", "v@?", since=14)
def _restore(_world: World, self: Instance, url: Instance, block: int) -> None:
    self["vm"].restore(url["path"], block)
