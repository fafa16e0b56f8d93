"""Machine identifiers and hardware models.

Their data representations are binary property lists as CoreFoundation writes them (public samples of identifiers decode
and encode again byte for byte with plistlib; high): `ECID` with an unsigned 64-bit number, `UUID` with 16 bytes, or a
hardware model's `DataRepresentationVersion`, `PlatformVersion` and `MinimumSupportedOS`. Hosts before macOS 15 do not
know version 2 of hardware models (tart's issues; medium).
"""

from __future__ import annotations

import plistlib
import uuid
from typing import TYPE_CHECKING, Any

from ..foundation import data_of
from ..kinds import kind, method

if TYPE_CHECKING:
    from ..objc import Instance
    from ..world import World

kind("VZMacMachineIdentifier")
kind("VZGenericMachineIdentifier", since=13)
kind("VZMacHardwareModel", plain=False)


def decode(data: bytes) -> dict[str, Any] | None:
    """A binary property list's dictionary."""
    if not data.startswith(b"bplist00"):
        return None
    try:
        value = plistlib.loads(data, fmt=plistlib.FMT_BINARY)
    except Exception:  # plistlib raises errors of many kinds for damaged files
        return None
    return value if isinstance(value, dict) else None


def encode(value: dict[str, Any]) -> bytes:
    """A dictionary as a binary property list, its keys in the order given."""
    return plistlib.dumps(value, fmt=plistlib.FMT_BINARY, sort_keys=False)


@method("VZMacMachineIdentifier", "init", "!")
def _mac_new(world: World, self: Instance) -> Instance:
    self.fields["ecid"] = world.random.getrandbits(64)
    return self


@method("VZMacMachineIdentifier", "initWithDataRepresentation:", "!@")
def _mac_from(_world: World, self: Instance, data: Instance) -> Instance | None:
    value = decode(data["data"])
    ecid = value.get("ECID") if value else None
    if not isinstance(ecid, int) or isinstance(ecid, bool):
        return None
    self.fields["ecid"] = ecid & (1 << 64) - 1
    return self


@method("VZMacMachineIdentifier", "dataRepresentation", "$")
def _mac_data(world: World, self: Instance) -> Instance:
    return data_of(world, encode({"ECID": self["ecid"]}))


@method("VZGenericMachineIdentifier", "init", "!")
def _generic_new(world: World, self: Instance) -> Instance:
    self.fields["uuid"] = uuid.UUID(bytes=world.random.randbytes(16), version=4).bytes
    return self


@method("VZGenericMachineIdentifier", "initWithDataRepresentation:", "!@")
def _generic_from(_world: World, self: Instance, data: Instance) -> Instance | None:
    value = decode(data["data"])
    identity = value.get("UUID") if value else None
    if not isinstance(identity, bytes) or len(identity) != 16:
        return None
    self.fields["uuid"] = identity
    return self


@method("VZGenericMachineIdentifier", "dataRepresentation", "$")
def _generic_data(world: World, self: Instance) -> Instance:
    return data_of(world, encode({"UUID": self["uuid"]}))


@method("VZMacHardwareModel", "initWithDataRepresentation:", "!@")
def _model_from(world: World, self: Instance, data: Instance) -> Instance | None:
    value = decode(data["data"])
    if value is None or "PlatformVersion" not in value:
        return None
    known = 2 if world.host.macos >= 15 else 1
    if value.get("DataRepresentationVersion", 1) > known:
        return None
    self.fields.update(model=value, bytes=data["data"])
    return self


@method("VZMacHardwareModel", "dataRepresentation", "$")
def _model_data(world: World, self: Instance) -> Instance:
    return data_of(world, self["bytes"])


@method("VZMacHardwareModel", "isSupported", "B")
def _model_supported(world: World, _self: Instance) -> bool:
    return world.host.runs_model
