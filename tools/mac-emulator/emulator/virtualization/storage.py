"""Files that a machine keeps its state in: auxiliary storage, UEFI variables, disks.

Opening auxiliary storage does not look at the file; the validation of the configuration does (public notes of arcbox;
medium). A disk must be readable, a multiple of 512 bytes and not empty, else it is no raw image
(`VZError.invalidDiskImage`; medium).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ..foundation import posix_error, set_error
from ..kinds import kind, method, properties
from .errors import DISK_IMAGE, INTERNAL, vz_error

if TYPE_CHECKING:
    from ..objc import Instance
    from ..world import World

ALLOW_OVERWRITE = 1
SECTOR = 512

kind("VZMacAuxiliaryStorage", plain=False)
kind("VZEFIVariableStore", plain=False, since=13)
kind("VZStorageDeviceAttachment", plain=False)
kind("VZDiskImageStorageDeviceAttachment", "VZStorageDeviceAttachment", plain=False)
kind("VZStorageDeviceConfiguration", plain=False)
kind("VZVirtioBlockDeviceConfiguration", "VZStorageDeviceConfiguration", plain=False)
kind("VZUSBMassStorageDeviceConfiguration", "VZStorageDeviceConfiguration", plain=False, since=13)
kind("VZNVMExpressControllerDeviceConfiguration", "VZStorageDeviceConfiguration", plain=False, since=14)
properties("VZVirtioBlockDeviceConfiguration", blockDeviceIdentifier="@")


@method("VZStorageDeviceConfiguration", "attachment", "@")
def _attachment(_world: World, self: Instance) -> Instance:
    return self["attachment"]  # type: ignore[no-any-return]


@method("VZMacAuxiliaryStorage", "initWithURL:", "!@", since=13)
@method("VZMacAuxiliaryStorage", "initWithContentsOfURL:", "!@")
@method("VZEFIVariableStore", "initWithURL:", "!@")
def _open(_world: World, self: Instance, url: Instance) -> Instance:
    self.fields["path"] = url["path"]
    return self


def create(world: World, self: Instance, url: Instance, options: int, error: int, content: bytes) -> Instance | None:
    """Makes a store's file; an old one only goes when that is asked for."""
    flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if options & ALLOW_OVERWRITE else os.O_EXCL)
    try:
        descriptor = os.open(url["path"], flags, 0o644)
    except OSError as failure:
        below = [posix_error(world, failure.errno or 22)]
        set_error(world, error, vz_error(world, INTERNAL, "The store cannot be made.", below))
        return None
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    self.fields["path"] = url["path"]
    return self


@method("VZEFIVariableStore", "initCreatingVariableStoreAtURL:options:error:", "!@Q*")
def _create_store(world: World, self: Instance, url: Instance, options: int, error: int) -> Instance | None:
    return create(world, self, url, options, error, b"fake variables")


@method("VZMacAuxiliaryStorage", "initCreatingStorageAtURL:hardwareModel:options:error:", "!@@Q*")
def _create_storage(
    world: World, self: Instance, url: Instance, _model: Instance, options: int, error: int
) -> Instance | None:
    return create(world, self, url, options, error, b"fake auxiliary storage")


def disk(world: World, self: Instance, url: Instance, read_only: bool, error: int) -> Instance | None:
    """Opens a disk image."""
    try:
        with open(url["path"], "rb" if read_only else "r+b") as file:
            size = file.seek(0, os.SEEK_END)
    except OSError as failure:
        below = [posix_error(world, failure.errno or 22)]
        set_error(world, error, vz_error(world, DISK_IMAGE, "The disk image cannot be opened.", below))
        return None
    if size == 0 or size % SECTOR:
        reason = "The disk image’s size is not a multiple of 512 bytes, or it is empty."
        set_error(world, error, vz_error(world, DISK_IMAGE, reason))
        return None
    self.fields.update(path=url["path"], read_only=read_only)
    return self


@method("VZDiskImageStorageDeviceAttachment", "initWithURL:readOnly:error:", "!@B*")
def _disk(world: World, self: Instance, url: Instance, read_only: bool, error: int) -> Instance | None:
    return disk(world, self, url, read_only, error)


@method(
    "VZDiskImageStorageDeviceAttachment",
    "initWithURL:readOnly:cachingMode:synchronizationMode:error:",
    "!@Bqq*",
    since=12,
)
def _disk_with_modes(
    world: World, self: Instance, url: Instance, read_only: bool, _caching: int, _mode: int, error: int
) -> Instance | None:
    return disk(world, self, url, read_only, error)


@method("VZVirtioBlockDeviceConfiguration", "initWithAttachment:", "!@")
@method("VZUSBMassStorageDeviceConfiguration", "initWithAttachment:", "!@")
@method("VZNVMExpressControllerDeviceConfiguration", "initWithAttachment:", "!@")
def _with_attachment(world: World, self: Instance, attachment: Instance) -> Instance:
    world.runtime.hold(self, "attachment", attachment)
    return self
