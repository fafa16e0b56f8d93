"""Security: SecTask, which tells the entitlements of the program's own signature (`SecTask.h`; confidence: high)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .foundation import boolean, string
from .kinds import kind
from .registry import imported

if TYPE_CHECKING:
    from .world import World

kind("SecTask", plain=False)


@imported("_SecTaskCreateFromSelf")
def _from_self(world: World, _a: list[int]) -> int:
    return world.runtime.create("SecTask").address


@imported("_SecTaskCopyValueForEntitlement")
def _value(world: World, a: list[int]) -> int:
    name = world.runtime.at(a[1])["text"]
    value = entitlements(world).get(name)
    world.log_call("SecTask", f"SecTaskCopyValueForEntitlement {name}", a[0])
    if isinstance(value, bool):
        return world.runtime.retain(boolean(world, value)).address
    if isinstance(value, str):
        return string(world, value).address
    return 0


def entitlements(world: World) -> dict[str, object]:
    """What the program's signature grants it."""
    signature = world.image.signature
    return signature.entitlements if signature and world.host.grants_entitlements else {}
