"""The parts of a configuration that are only kept: platforms, boot loaders, devices, attachments of plain kinds."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ..errors import Crash
from ..foundation import set_error, string
from ..kinds import kind, method, properties
from .errors import CONFIGURATION, vz_error

if TYPE_CHECKING:
    from ..objc import Class, Instance
    from ..world import World

# Platforms and boot loaders.

kind("VZPlatformConfiguration", plain=False)
kind("VZMacPlatformConfiguration", "VZPlatformConfiguration")
properties("VZMacPlatformConfiguration", hardwareModel="@", machineIdentifier="@", auxiliaryStorage="@")
kind("VZGenericPlatformConfiguration", "VZPlatformConfiguration")
properties("VZGenericPlatformConfiguration", since=13, machineIdentifier="@")
properties("VZGenericPlatformConfiguration", since=15, nestedVirtualizationEnabled="B")
kind("VZBootLoader", plain=False)
kind("VZMacOSBootLoader", "VZBootLoader")
kind("VZEFIBootLoader", "VZBootLoader", since=13)
properties("VZEFIBootLoader", variableStore="@")
kind("VZLinuxBootLoader", "VZBootLoader")
properties("VZLinuxBootLoader", kernelURL="@", commandLine="@", initialRamdiskURL="@")

# Plain classes in which each only has its own name: an abstract parent, and what derives from it.

for parent, name in {
    "VZEntropyDeviceConfiguration": "VZVirtioEntropyDeviceConfiguration",
    "VZMemoryBalloonDeviceConfiguration": "VZVirtioTraditionalMemoryBalloonDeviceConfiguration",
    "VZKeyboardConfiguration": "VZUSBKeyboardConfiguration",
    "VZPointingDeviceConfiguration": "VZUSBScreenCoordinatePointingDeviceConfiguration",
    "VZNetworkDeviceAttachment": "VZNATNetworkDeviceAttachment",
    "VZSocketDeviceConfiguration": "VZVirtioSocketDeviceConfiguration",
    "VZGraphicsDeviceConfiguration": "VZMacGraphicsDeviceConfiguration",
    "VZNetworkDeviceConfiguration": "VZVirtioNetworkDeviceConfiguration",
    "VZSerialPortConfiguration": "VZVirtioConsoleDeviceSerialPortConfiguration",
    "VZConsoleDeviceConfiguration": "VZVirtioConsoleDeviceConfiguration",
    "VZConsolePortConfiguration": "VZVirtioConsolePortConfiguration",
}.items():
    kind(parent, plain=False)
    kind(name, parent)
kind("VZMacKeyboardConfiguration", "VZKeyboardConfiguration", since=14)
kind("VZMacTrackpadConfiguration", "VZPointingDeviceConfiguration", since=13)

properties("VZNetworkDeviceConfiguration", attachment="@", MACAddress="@")
properties("VZSerialPortConfiguration", attachment="@")
properties("VZConsolePortConfiguration", attachment="@")
properties("VZVirtioConsolePortConfiguration", name="@", isConsole="B")
properties("VZMacGraphicsDeviceConfiguration", displays="@")


@method("VZLinuxBootLoader", "initWithKernelURL:", "!@")
def _linux(world: World, self: Instance, url: Instance) -> Instance:
    world.runtime.hold(self, "kernelURL", url)
    return self


# Displays.

kind("VZGraphicsDisplayConfiguration", plain=False)
kind("VZMacGraphicsDisplayConfiguration", "VZGraphicsDisplayConfiguration", plain=False)
properties("VZMacGraphicsDisplayConfiguration", widthInPixels="q", heightInPixels="q", pixelsPerInch="q")


@method("VZMacGraphicsDisplayConfiguration", "initWithWidthInPixels:heightInPixels:pixelsPerInch:", "!qqq")
def _display(_world: World, self: Instance, width: int, height: int, density: int) -> Instance:
    self.fields.update(widthInPixels=width, heightInPixels=height, pixelsPerInch=density)
    return self


# Network.

kind("VZMACAddress", plain=False)


@method("VZMACAddress", "initWithString:", "!@")
def _address(_world: World, self: Instance, text: Instance) -> Instance | None:
    if not re.fullmatch(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}", text["text"]):
        return None
    self.fields["address"] = text["text"].lower()
    return self


@method("+VZMACAddress", "randomLocallyAdministeredAddress", "$")
def _random_address(world: World, _self: Class) -> Instance:
    octets = bytearray(world.random.randbytes(6))
    octets[0] = octets[0] & 0xFC | 2
    return world.runtime.create("VZMACAddress", address=octets.hex(":"))


@method("VZMACAddress", "string", "$")
def _address_text(world: World, self: Instance) -> Instance:
    return string(world, self["address"])


# Serial ports and consoles.

kind("VZSerialPortAttachment", plain=False)
kind("VZFileSerialPortAttachment", "VZSerialPortAttachment", plain=False)
kind("VZFileHandleSerialPortAttachment", "VZSerialPortAttachment", plain=False)
kind("VZVirtioConsolePortConfigurationArray", plain=False)


@method("VZFileSerialPortAttachment", "initWithURL:append:error:", "!@B*")
def _file_port(world: World, self: Instance, url: Instance, append: bool, error: int) -> Instance | None:
    try:
        with open(url["path"], "ab" if append else "wb"):
            pass
    except OSError as failure:
        set_error(world, error, vz_error(world, CONFIGURATION, f"The file cannot be opened: {failure.strerror}."))
        return None
    self.fields["path"] = url["path"]
    return self


@method("VZFileHandleSerialPortAttachment", "initWithFileHandleForReading:fileHandleForWriting:", "!@@")
def _handle_port(world: World, self: Instance, reading: Instance | None, writing: Instance | None) -> Instance:
    world.runtime.hold(self, "reading", reading)
    world.runtime.hold(self, "writing", writing)
    return self


@method("VZVirtioConsoleDeviceConfiguration", "ports", "@")
def _ports(world: World, self: Instance) -> Instance:
    if "ports" not in self.fields:
        world.runtime.hold(self, "ports", world.runtime.create("VZVirtioConsolePortConfigurationArray"))
        world.runtime.release(self["ports"])
    return self["ports"]  # type: ignore[no-any-return]


@method("VZVirtioConsolePortConfigurationArray", "setObject:atIndexedSubscript:", "v@Q")
def _set_port(world: World, self: Instance, port: Instance | None, index: int) -> None:
    if index >= self.get("maximumPortCount", 16):
        raise Crash(f"a console device has no port {index}")
    world.runtime.hold(self, f"port{index}", port)


@method("VZVirtioConsolePortConfigurationArray", "objectAtIndexedSubscript:", "@Q")
def _get_port(_world: World, self: Instance, index: int) -> Instance | None:
    return self.get(f"port{index}")  # type: ignore[no-any-return]


properties("VZVirtioConsolePortConfigurationArray", maximumPortCount="Q")


def ports_of(device: Instance) -> list[Instance]:
    """The ports of a console device."""
    ports = device.get("ports")
    return list(ports.held.values()) if ports else []


def items(owner: Instance, key: str) -> list[Instance]:
    """The content of a property that is an array."""
    array: Any = owner.get(key)
    return list(array["items"]) if array else []
