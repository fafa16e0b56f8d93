"""Blocks: the layout of Clang's Block ABI (Block-ABI-Apple; confidence: high).

isa | flags, reserved | invoke | descriptor: reserved, size, [copy, dispose], [signature]
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import Crash
from .registry import imported, variable

if TYPE_CHECKING:
    from .world import World

HAS_COPY_DISPOSE = 1 << 25
IS_GLOBAL = 1 << 28


class Blocks:
    """The blocks on the heap and their counts."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.counts: dict[int, int] = {}

    def copy(self, block: int) -> int:
        """`_Block_copy`: one more reference to a block on the heap, or a block of the stack moved there."""
        machine = self.world.machine
        flags = machine.u32(block + 8)
        if flags & IS_GLOBAL:
            return block
        if block in self.counts:
            self.counts[block] += 1
            return block
        descriptor = machine.u64(block + 24)
        copy = machine.store(machine.read(block, machine.u64(descriptor + 8)))
        machine.put64(copy, self.world.data("__NSConcreteMallocBlock"))
        self.counts[copy] = 1
        if flags & HAS_COPY_DISPOSE:
            self.world.call(machine.u64(descriptor + 16), copy, block)
        return copy

    def release(self, block: int) -> None:
        """`_Block_release`."""
        machine = self.world.machine
        flags = machine.u32(block + 8)
        if flags & IS_GLOBAL:
            return
        if block not in self.counts:
            raise Crash(f"the block {block:#x} was released, but is not on the heap, or is gone")
        self.counts[block] -= 1
        if self.counts[block] == 0:
            if flags & HAS_COPY_DISPOSE:
                self.world.call(machine.u64(machine.u64(block + 24) + 24), block)
            del self.counts[block]
            machine.free(block)

    def call(self, block: int, *arguments: int) -> int:
        """Calls a block."""
        return self.world.call(self.world.machine.u64(block + 16), block, *arguments)


@imported("__Block_copy", "_objc_retainBlock")
def _copy(world: World, a: list[int]) -> int:
    return world.runtime.blocks.copy(a[0]) if a[0] else 0


@imported("__Block_release")
def _release(world: World, a: list[int]) -> None:
    if a[0]:
        world.runtime.blocks.release(a[0])


def _isa(world: World) -> int:
    return world.machine.allocate(256)


for _name in ("Stack", "Malloc", "Global"):
    variable(f"__NSConcrete{_name}Block")(_isa)
