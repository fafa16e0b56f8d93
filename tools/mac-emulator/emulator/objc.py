"""The Objective-C runtime: objects and their counts, classes of the program, messages.

Counts are kept as on a Mac, so that an object's end comes when it would there: getters give autoreleased objects, and
`objc_retainAutoreleasedReturnValue` takes one over when it comes directly after the message, as the real one does. A
message to an object that is gone ends the run.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .blocks import Blocks
from .errors import Crash, Unknown
from .kinds import KINDS, Kind, Method
from .registry import signed64

if TYPE_CHECKING:
    from .world import World

SIZE = 32


@dataclass(eq=False)
class Instance:
    """An object. `fields` is the fakes' own; the objects in `held` are its references."""

    address: int
    class_: Class
    count: int = 1
    fields: dict[str, Any] = field(default_factory=dict)
    held: dict[str, Instance] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """The name of its class."""
        return self.class_.name

    def __getitem__(self, key: str) -> Any:
        return self.fields[key]

    def get(self, key: str, default: Any = None) -> Any:
        """A field, if it was set."""
        return self.fields.get(key, default)


@dataclass(eq=False)
class Class:
    """A class: a fake, or one of the program."""

    name: str
    address: int
    parent: Class | None
    fake: Kind | None = None
    # Of a class of the program: its methods by selector, its variables, the size of its objects.
    implementations: dict[str, int] = field(default_factory=dict)
    variables: dict[str, int] = field(default_factory=dict)
    size: int = SIZE

    def chain(self) -> Iterator[Class]:
        """The class and its parents."""
        class_: Class | None = self
        while class_ is not None:
            yield class_
            class_ = class_.parent

    def is_a(self, name: str) -> bool:
        """Whether it or a parent has this name."""
        return any(class_.name == name for class_ in self.chain())


class Runtime:
    """All classes and objects of one process."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.blocks = Blocks(world)
        self.objects: dict[int, Instance] = {}
        self.classes: dict[str, Class] = {}
        self.by_address: dict[int, Class] = {}
        self.protocols: dict[str, int] = {}
        self.weak: dict[int, set[int]] = {}
        self.offsets: dict[int, int] = {}
        self._gone: dict[int, str] = {}
        self._constants: dict[str, int] = {}
        self._selectors: dict[int, str] = {}
        self._pools: list[list[Instance]] = [[]]
        self._handed: Instance | None = None

    # Names.

    def constant(self, text: str) -> int:
        """The address of a text that is there for ever; the same for the same text."""
        if text not in self._constants:
            self._constants[text] = self.world.machine.store_string(text)
        return self._constants[text]

    def selector(self, address: int) -> str:
        """The name of a selector."""
        name = self._selectors.get(address)
        if name is None:
            name = self._selectors[address] = self.world.machine.string(address)
        return name

    # Classes.

    def find_class(self, name: str) -> Class | None:
        """The class of a name, if this macOS has it."""
        if name in self.classes:
            return self.classes[name]
        fake = KINDS.get(name)
        if fake is None:
            raise Unknown(f"the program asks for the class {name}, for which there is no fake")
        if fake.since > self.world.host.macos:
            return None
        parent = self.find_class(fake.parent) if fake.parent else None
        return self.add_class(Class(name, self.world.machine.allocate(64), parent, fake))

    def add_class(self, class_: Class) -> Class:
        """Makes a class known."""
        self.classes[class_.name] = class_
        self.by_address[class_.address] = class_
        self.world.machine.put64(class_.address, class_.address)
        return class_

    def class_at(self, address: int) -> Class:
        """The class at an address."""
        if address not in self.by_address:
            raise Crash(f"{address:#x} is no class")
        return self.by_address[address]

    # Objects.

    def create(self, name: str, **fields: Any) -> Instance:
        """Makes an object; its one reference is the caller's."""
        class_ = self.find_class(name)
        if class_ is None:
            raise Crash(f"a fake made a {name}, which this macOS does not have")
        return self.allocate(class_, **fields)

    def allocate(self, class_: Class, **fields: Any) -> Instance:
        """Makes an object of a class."""
        address = self.world.machine.allocate(class_.size)
        self.world.machine.write(address, class_.address.to_bytes(8, "little") + bytes(class_.size - 8))
        instance = self.objects[address] = Instance(address, class_, fields=fields)
        self._gone.pop(address, None)
        return instance

    def temporary(self, name: str, **fields: Any) -> Instance:
        """Makes an object that the autorelease pool takes."""
        return self.autorelease(self.create(name, **fields))

    def at(self, address: int) -> Instance:
        """The object at an address."""
        instance = self.objects.get(address)
        if instance is None:
            gone = self._gone.get(address)
            what = f"an object of {gone} that is gone" if gone else "no object"
            raise Crash(f"{address:#x} is {what}, and was used as one at {self.world.machine.place()}")
        return instance

    def optional(self, address: int) -> Instance | None:
        """The object at an address, `None` for nil."""
        return self.at(address) if address else None

    def retain(self, instance: Instance) -> Instance:
        """Takes a reference."""
        instance.count += 1
        return instance

    def release(self, instance: Instance) -> None:
        """Gives a reference back; the last one ends the object."""
        if instance.count <= 0:
            raise Crash(f"a {instance.kind} was released more often than retained")
        if instance.count > 1:
            instance.count -= 1
            return
        for class_ in instance.class_.chain():
            if "dealloc" in class_.implementations:
                # It calls the parents' one, and that comes to `end` below.
                self.world.call(class_.implementations["dealloc"], instance.address, self.constant("dealloc"))
                return
        self.end(instance)

    def end(self, instance: Instance) -> None:
        """Ends an object: what NSObject's dealloc does."""
        for class_ in instance.class_.chain():
            if class_.fake and class_.fake.finalize:
                class_.fake.finalize(self.world, instance)
        for slot in self.weak.pop(instance.address, set()):
            self.world.machine.put64(slot, 0)
        del self.objects[instance.address]
        self._gone[instance.address] = instance.kind
        instance.count = 0
        for held in list(instance.held.values()):
            self.release(held)
        instance.held.clear()
        self.world.machine.free(instance.address)

    def hold(self, instance: Instance, key: str, value: Instance | None) -> None:
        """Sets a field to an object and keeps a reference to it."""
        before = instance.held.pop(key, None)
        instance.fields[key] = value
        if value is not None:
            instance.held[key] = self.retain(value)
        if before is not None:
            self.release(before)

    # Autorelease pools.

    def autorelease(self, instance: Instance) -> Instance:
        """Gives a reference to the innermost pool."""
        self._pools[-1].append(instance)
        return instance

    def push_pool(self) -> int:
        """Opens a pool and gives its depth."""
        self._pools.append([])
        return len(self._pools) - 1

    def pop_pool(self, depth: int) -> None:
        """Closes the pool of a depth and all that were opened in it."""
        if not 0 < depth < len(self._pools):
            raise Crash(f"an autorelease pool was closed that is not open ({depth})")
        self._handed = None
        while len(self._pools) > depth:
            pool = self._pools[-1]
            while pool:
                self.release(pool.pop())
            self._pools.pop()

    @contextmanager
    def pool(self) -> Iterator[None]:
        """A pool around what a fake does."""
        depth = self.push_pool()
        yield
        self.pop_pool(depth)

    def take_over(self, instance: Instance) -> None:
        """`objc_retainAutoreleasedReturnValue`."""
        pool = self._pools[-1]
        if self._handed is instance and pool and pool[-1] is instance:
            pool.pop()
        else:
            self.retain(instance)
        self._handed = None

    # Messages.

    def send(self, receiver: int, selector: str, arguments: list[int], start: Class | None = None) -> int:
        """Sends a message and gives its raw result. `start` is where a message to `super` begins."""
        self._handed = None
        if receiver == 0:
            return 0
        class_ = self.by_address.get(receiver)
        if class_ is not None:
            return self._send_to_class(class_, selector, arguments)
        if receiver in self.blocks.counts:
            raise Unknown(f"the program sends {selector} to a block")
        instance = self.at(receiver)
        for class_ in (start or instance.class_).chain():
            implementation = class_.implementations.get(selector)
            if implementation is not None:
                return self.world.call(implementation, receiver, self.constant(selector), *arguments[:6])
            if class_.fake is None:
                continue
            if class_.fake.guard is not None:
                class_.fake.guard(self.world, instance, selector)
            method = class_.fake.methods.get(selector)
            if method is not None:
                self._check_age(method, f"-[{instance.kind} {selector}]")
                if class_.parent is not None:
                    self.world.log_call(instance.kind, selector, receiver)
                return self._invoke(method, instance, selector, arguments)
        raise Unknown(f"the program sends {selector} to a {instance.kind}, for which there is no fake")

    def _send_to_class(self, class_: Class, selector: str, arguments: list[int]) -> int:
        for parent in class_.chain():
            method = parent.fake.class_methods.get(selector) if parent.fake else None
            if method is not None:
                self._check_age(method, f"+[{class_.name} {selector}]")
                if parent.parent is not None or selector == "new":
                    self.world.log_call("+" + class_.name, selector, class_.address)
                return self._invoke(method, class_, selector, arguments)
        raise Unknown(f"the program sends {selector} to the class {class_.name}, for which there is no fake")

    def _check_age(self, method: Method, name: str) -> None:
        if method.since > self.world.host.macos:
            raise Crash(
                f"{name}: unrecognized selector: macOS {method.since} has it first, and this is {self.world.host.macos}"
            )

    def _invoke(self, method: Method, receiver: Instance | Class, selector: str, arguments: list[int]) -> int:
        values = [self._argument(letter, value) for letter, value in zip(method.types[1:], arguments, strict=False)]
        result = method.body(self.world, receiver, *values)
        return self._result(method.types[0], receiver, selector, result)

    def _argument(self, letter: str, value: int) -> Any:
        if letter == "@":
            return self.optional(value)
        if letter == "q":
            return signed64(value)
        if letter == "B":
            return bool(value & 0xFF)
        return value

    def _result(self, letter: str, receiver: Instance | Class, selector: str, result: Any) -> int:
        if letter in "@$" and isinstance(result, Instance):
            self.autorelease(self.retain(result) if letter == "@" else result)
            self._handed = result
            return result.address
        if letter == "!" and isinstance(receiver, Instance) and selector.startswith("init") and result is not receiver:
            self.release(receiver)
        if isinstance(result, Instance | Class):
            return result.address
        return int(result or 0)

    def responds(self, class_: Class, selector: str) -> bool:
        """Whether objects of a class have a method. A selector that no fake knows is no answer, but a gap."""
        known = False
        for parent in class_.chain():
            if selector in parent.implementations:
                return True
            method = parent.fake.methods.get(selector) if parent.fake else None
            if method is not None:
                known = True
                if method.since <= self.world.host.macos:
                    return True
        if not known and class_.fake is not None:
            raise Unknown(f"the program asks whether {class_.name} responds to {selector}, for which there is no fake")
        return False
