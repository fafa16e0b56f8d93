"""The tables that fakes of functions and variables put themselves into."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from .world import World

    Function = Callable[[World, list[int]], "int | None"]
    Variable = Callable[[World], int]
    F = TypeVar("F", bound=Function)

IMPORTS: dict[str, Function] = {}
DATA: dict[str, Variable] = {}


def imported(*names: str) -> Callable[[F], F]:
    """Registers a fake for functions, named as in the symbol table: with the underscore before the C name."""

    def register(function: F) -> F:
        for name in names:
            assert name not in IMPORTS, name
            IMPORTS[name] = function
        return function

    return register


def variable(name: str) -> Callable[[Variable], Variable]:
    """Registers a maker for a variable: it gives the variable's address."""

    def register(function: Variable) -> Variable:
        assert name not in DATA, name
        DATA[name] = function
        return function

    return register


def signed32(value: int) -> int:
    """An `int` argument."""
    return (value & 0xFFFF_FFFF ^ 0x8000_0000) - 0x8000_0000


def signed64(value: int) -> int:
    """A `long` argument."""
    return (value ^ 1 << 63) - (1 << 63)
