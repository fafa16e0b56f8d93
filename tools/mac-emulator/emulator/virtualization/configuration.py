"""VZVirtualMachineConfiguration: what a machine is made of, and its validation."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from ..foundation import set_error
from ..kinds import kind, method, properties
from ..security import entitlements
from .devices import items
from .errors import CONFIGURATION, ENTITLEMENT, locked, unentitled, vz_error
from .service import Lock

if TYPE_CHECKING:
    from ..objc import Class, Instance
    from ..world import World

MIB = 1 << 20
MOST_CPUS, LEAST_MEMORY, MOST_MEMORY = 8, 4 * MIB, 16384 * MIB
ARRAYS = (
    "storageDevices", "networkDevices", "serialPorts", "consoleDevices", "entropyDevices", "memoryBalloonDevices",
    "graphicsDevices", "keyboards", "pointingDevices", "socketDevices", "audioDevices", "directorySharingDevices",
)  # fmt: skip

kind("VZVirtualMachineConfiguration")
properties("VZVirtualMachineConfiguration", platform="@", bootLoader="@", CPUCount="Q", memorySize="Q")
for array in ARRAYS:
    properties("VZVirtualMachineConfiguration", **{array: "@"})  # type: ignore[arg-type]


def limits(selector: str, value: int) -> None:
    """A class property with a number."""

    @method("+VZVirtualMachineConfiguration", selector, "Q")
    def _limit(_world: World, _self: Class) -> int:
        return value


limits("minimumAllowedCPUCount", 1)
limits("maximumAllowedCPUCount", MOST_CPUS)
limits("minimumAllowedMemorySize", LEAST_MEMORY)
limits("maximumAllowedMemorySize", MOST_MEMORY)


def is_mac(configuration: Instance) -> bool:
    """Whether it is one for a macOS guest."""
    platform = configuration.get("platform")
    return platform is not None and platform.kind == "VZMacPlatformConfiguration"


def auxiliary_storage(configuration: Instance) -> str | None:
    """The path of the auxiliary storage."""
    storage = configuration["platform"].get("auxiliaryStorage") if is_mac(configuration) else None
    return storage["path"] if storage else None


def folder_of(attachment: Instance) -> str:
    """The name of the folder that an attachment's file lies in."""
    return Path(attachment["path"]).parent.name


def bundle(configuration: Instance) -> str:
    """The name of the folder that the first disk, or else the serial port's file, lies in."""
    for device in items(configuration, "storageDevices"):
        return folder_of(device["attachment"])
    for port in items(configuration, "serialPorts"):
        if port.get("attachment") and "path" in port["attachment"].fields:
            return folder_of(port["attachment"])
    return ""


def digest(configuration: Instance) -> str:
    """What a saved state must agree with: the identity and everything that the guest sees."""
    platform = configuration["platform"]
    identity = platform.get("machineIdentifier")
    parts: list[object] = [configuration.get("CPUCount"), configuration.get("memorySize"), platform.kind]
    parts += [identity.get("ecid"), identity.get("uuid")] if identity else []
    for key in ARRAYS:
        for device in items(configuration, key):
            address = device.get("MACAddress")
            parts += [key, device.kind, address["address"] if address else None]
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def platform_fault(configuration: Instance) -> str | None:
    """What is wrong with platform and boot loader together."""
    platform, loader = configuration.get("platform"), configuration.get("bootLoader")
    if loader is None:
        return "The boot loader is not set."
    if is_mac(configuration):
        if loader.kind != "VZMacOSBootLoader":
            return "A Mac platform boots macOS only."
        for key in ("hardwareModel", "machineIdentifier", "auxiliaryStorage"):
            if platform.get(key) is None:
                return f"The platform has no {key}."
        if not items(configuration, "graphicsDevices"):
            return "A macOS guest needs a graphics device."
        return None
    if loader.kind == "VZMacOSBootLoader":
        return "macOS needs a Mac platform."
    if loader.kind == "VZEFIBootLoader" and loader.get("variableStore") is None:
        return "The EFI boot loader has no variable store."
    return None


def fault(world: World, configuration: Instance) -> str | None:
    """What is wrong with a configuration, but for its locks."""
    found = platform_fault(configuration)
    if found:
        return found
    if not 1 <= configuration.get("CPUCount", 0) <= MOST_CPUS:
        return f"The number of virtual CPUs is not between 1 and {MOST_CPUS}."
    memory = configuration.get("memorySize", 0)
    if memory % MIB or not LEAST_MEMORY <= memory <= MOST_MEMORY:
        return "The memory size is not a multiple of 1 MiB in the allowed range."
    for key in ("networkDevices", "serialPorts"):
        for device in items(configuration, key):
            if device.get("attachment") is None:
                return f"An item of {key} has no attachment."
    addresses = [
        card["MACAddress"]["address"] for card in items(configuration, "networkDevices") if card.get("MACAddress")
    ]
    if len(addresses) != len(set(addresses)):
        return "Two network devices have one MAC address."
    path = auxiliary_storage(configuration)
    if path is not None and not os.path.isfile(path):
        return "The auxiliary storage cannot be opened."
    return None


@method("VZVirtualMachineConfiguration", "validateWithError:", "B*")
def _validate(world: World, self: Instance, error: int) -> bool:
    if entitlements(world).get(ENTITLEMENT) is not True:
        set_error(world, error, unentitled(world))
        return False
    found = fault(world, self)
    if found:
        set_error(world, error, vz_error(world, CONFIGURATION, found))
        return False
    path = auxiliary_storage(self)
    if path is not None:
        lock = Lock.take(path)
        if lock is None:
            world.note(f"validation: {path} is locked")
            set_error(world, error, locked(world))
            return False
        lock.release()
    return True


@method("VZVirtualMachineConfiguration", "validateSaveRestoreSupportWithError:", "B*", since=14)
def _validate_save(world: World, self: Instance, error: int) -> bool:
    if not world.host.unsaveable:
        return True
    set_error(world, error, vz_error(world, CONFIGURATION, "A device of the configuration cannot be saved."))
    return False
