"""The tables of fake classes: which methods they have, of which types, and since which macOS.

Types are one letter for the result and one for each argument:

    v  nothing                    q Q  signed, unsigned number         B  boolean
    @  an object; as a result one that somebody else holds as well
    $  (result) a fresh object, which the autorelease pool takes
    !  (result) the caller's own object, as init, new and copy give
    ?  a block                    *    any other pointer
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .objc import Instance
    from .world import World

    Body = Callable[..., Any]


@dataclass(frozen=True)
class Method:
    """A method of a fake class."""

    body: Body
    types: str
    # The first macOS that has it.
    since: int


@dataclass
class Kind:
    """A fake class."""

    name: str
    parent: str | None
    since: int = 0
    # Whether `new` and `init` are there; Apple's headers take them away from some classes.
    plain: bool = True
    methods: dict[str, Method] = field(default_factory=dict)
    class_methods: dict[str, Method] = field(default_factory=dict)
    # Looks at every message before it is answered.
    guard: Callable[[World, Instance, str], None] | None = None
    # Runs when the last reference is gone.
    finalize: Callable[[World, Instance], None] | None = None


KINDS: dict[str, Kind] = {}


def kind(name: str, parent: str | None = "NSObject", since: int = 0, plain: bool = True) -> Kind:
    """Declares a class."""
    assert name not in KINDS, name
    KINDS[name] = Kind(name, parent, since, plain)
    return KINDS[name]


def method(name: str, selector: str, types: str, since: int = 0) -> Callable[[Body], Body]:
    """Declares a method; `+` before the class's name makes it one of the class. The body gets world and receiver."""
    owner = KINDS[name.lstrip("+")]
    table = owner.class_methods if name.startswith("+") else owner.methods
    assert len(types) == 1 + selector.count(":"), selector

    def register(body: Body) -> Body:
        assert selector not in table, selector
        table[selector] = Method(body, types, since)
        return body

    return register


def properties(name: str, /, since: int = 0, **types: str) -> None:
    """Declares properties that are only kept: `value` with `setValue:`. Objects are held."""
    for key, letter in types.items():
        _property(name, key, letter, since)


def _property(name: str, key: str, letter: str, since: int) -> None:
    def read(_world: World, self: Instance) -> Any:
        return self.fields.get(key, None if letter == "@" else 0)

    def write(world: World, self: Instance, value: Any) -> None:
        if letter == "@":
            world.runtime.hold(self, key, value)
        else:
            self.fields[key] = value

    getter = f"is{key[0].upper()}{key[1:]}" if letter == "B" and not key.startswith("is") else key
    method(name, getter, letter, since)(read)
    method(name, f"set{key[0].upper()}{key[1:]}:", f"v{letter}", since)(write)
