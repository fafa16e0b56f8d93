"""The framework's errors: VZErrorDomain (`VZError.h`), with the texts that issues of public tools show."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..foundation import error_of, pointer_to, posix_error, string
from ..registry import variable

if TYPE_CHECKING:
    from ..objc import Instance
    from ..world import World

DOMAIN = "VZErrorDomain"
INTERNAL, CONFIGURATION, TRANSITION, DISK_IMAGE, LIMIT, NETWORK = 1, 2, 4, 5, 6, 7
SAVE, RESTORE, INSTALLATION_FAILED = 11, 12, 10007
EAGAIN = 35

ENTITLEMENT = "com.apple.security.virtualization"
TEXTS = {
    INTERNAL: "Internal Virtualization error.",
    CONFIGURATION: "Invalid virtual machine configuration.",
    TRANSITION: "Invalid virtual machine state transition.",
    DISK_IMAGE: "Invalid disk image.",
    LIMIT: "The number of virtual machines exceeds the limit.",
    NETWORK: "Network error.",
    SAVE: "Save error.",
    RESTORE: "Restore error.",
    INSTALLATION_FAILED: "Installation failed.",
}


@variable("_VZErrorDomain")
def _domain(world: World) -> int:
    return pointer_to(world, string(world, DOMAIN))


def vz_error(world: World, code: int, reason: str | None = None, below: list[Instance] | None = None) -> Instance:
    """A fresh error of the framework."""
    return error_of(world, DOMAIN, code, TEXTS[code], reason, below)


def locked(world: World) -> Instance:
    """Another process, or another machine of this one, uses the auxiliary storage."""
    return vz_error(world, CONFIGURATION, "Failed to lock auxiliary storage.", [posix_error(world, EAGAIN)])


def unentitled(world: World) -> Instance:
    """The program may not use the framework."""
    return vz_error(world, CONFIGURATION, f"The process doesn’t have the “{ENTITLEMENT}” entitlement.")


def limit(world: World) -> Instance:
    """The kernel runs as many macOS guests as it grants."""
    if world.host.limit_shows == "monterey":
        return error_of(world, DOMAIN, LIMIT, TEXTS[LIMIT], "No value exists in nvram for the provided key.")
    plain = vz_error(world, LIMIT, "The maximum supported number of active virtual machines has been reached.")
    if world.host.limit_shows == "nested":
        return vz_error(world, INSTALLATION_FAILED, "An error occurred during installation.", [plain])
    return plain


def keychain(world: World) -> Instance:
    """MacOS 15 could not make a key for the guest."""
    key = error_of(
        world,
        "NSOSStatusErrorDomain",
        -25308,
        "SecKeyCreateRandomKey_ios failed",
        "Interaction is not allowed with the Security Server.",
    )
    pair = error_of(world, "com.apple.Virtualization.Security", 1, "Failed to generate keypair", None, [key])
    return vz_error(world, INTERNAL, "The virtual machine failed to start.", [pair])
