"""Foundation: NSObject and the value classes that the program uses. After Apple's documentation (confidence: high)."""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING, Any

from .errors import Crash
from .kinds import kind, method
from .registry import imported, variable

if TYPE_CHECKING:
    from .objc import Class, Instance
    from .world import World

UTF8 = 4

# NSObject. Its methods are not noted: they are the runtime's, not a framework's.

kind("NSObject", None)


@method("+NSObject", "alloc", "!")
def _alloc(world: World, self: Class) -> Instance:
    return world.runtime.allocate(self)


@method("+NSObject", "new", "!")
def _new(world: World, self: Class) -> int:
    if self.fake is not None and not self.fake.plain:
        raise Crash(f"+[{self.name} new]: Apple's headers take it away from this class")
    return world.runtime.send(world.runtime.allocate(self).address, "init", [])


@method("+NSObject", "class", "*")
def _class(_world: World, self: Class) -> Class:
    return self


@method("+NSObject", "instancesRespondToSelector:", "B*")
def _instances_respond(world: World, self: Class, selector: int) -> bool:
    return world.runtime.responds(self, world.runtime.selector(selector))


@method("NSObject", "init", "!")
def _init(_world: World, self: Instance) -> Instance:
    if self.class_.fake is not None and not self.class_.fake.plain:
        raise Crash(f"-[{self.kind} init]: Apple's headers take it away from this class")
    return self


@method("NSObject", "retain", "*")
def _retain(world: World, self: Instance) -> Instance:
    return world.runtime.retain(self)


@method("NSObject", "release", "v")
def _release(world: World, self: Instance) -> None:
    world.runtime.release(self)


@method("NSObject", "autorelease", "*")
def _autorelease(world: World, self: Instance) -> Instance:
    return world.runtime.autorelease(self)


@method("NSObject", "self", "*")
def _self(_world: World, self: Instance) -> Instance:
    return self


@method("NSObject", "copy", "!")
def _copy(world: World, self: Instance) -> Instance:
    # What is copied here cannot change.
    return world.runtime.retain(self)


@method("NSObject", "class", "*")
def _class_of(_world: World, self: Instance) -> Class:
    return self.class_


@method("NSObject", "hash", "Q")
def _hash(_world: World, self: Instance) -> int:
    return self.address


@method("NSObject", "isEqual:", "B@")
def _is_equal(_world: World, self: Instance, other: Instance | None) -> bool:
    if other is not None and "text" in self.fields and "text" in other.fields:
        return bool(self["text"] == other["text"])
    return self is other


@method("NSObject", "isKindOfClass:", "B*")
def _is_kind(world: World, self: Instance, class_: int) -> bool:
    return self.class_.is_a(world.runtime.class_at(class_).name)


@method("NSObject", "respondsToSelector:", "B*")
def _responds(world: World, self: Instance, selector: int) -> bool:
    return world.runtime.responds(self.class_, world.runtime.selector(selector))


@method("NSObject", "conformsToProtocol:", "B*")
def _conforms(_world: World, _self: Instance, _protocol: int) -> bool:
    return True


@method("NSObject", "description", "$")
@method("NSObject", "debugDescription", "$")
def _description(world: World, self: Instance) -> Instance:
    return string(world, self.get("text") or f"<{self.kind}: {self.address:#x}>")


# NSString.

kind("NSString")


def string(world: World, text: str) -> Instance:
    """A fresh NSString."""
    return world.runtime.create("NSString", text=text)


def free_buffer(world: World, self: Instance) -> None:
    """Gives back the memory that an object handed out a pointer to."""
    if self.get("buffer"):
        world.machine.free(self["buffer"])


def buffer(world: World, self: Instance, data: bytes) -> int:
    """Memory that lives as long as the object."""
    if not self.get("buffer"):
        self.fields["buffer"] = world.machine.store(data)
    return int(self["buffer"])


@method("NSString", "initWithBytes:length:encoding:", "!*QQ")
def _string_init(world: World, self: Instance, data: int, length: int, encoding: int) -> Instance | None:
    if encoding != UTF8:
        raise Crash(f"NSString from an encoding that is not emulated ({encoding})")
    try:
        self.fields["text"] = world.machine.read(data, length).decode()
    except UnicodeDecodeError:
        return None
    return self


@method("+NSString", "stringWithUTF8String:", "$*")
def _string_with(world: World, _self: Class, data: int) -> Instance:
    return string(world, world.machine.string(data))


@method("NSString", "UTF8String", "*")
def _utf8(world: World, self: Instance) -> int:
    return buffer(world, self, self["text"].encode() + b"\0")


@method("NSString", "lengthOfBytesUsingEncoding:", "QQ")
def _length_of_bytes(_world: World, self: Instance, _encoding: int) -> int:
    return len(self["text"].encode())


@method("NSString", "length", "Q")
def _length(_world: World, self: Instance) -> int:
    return len(self["text"].encode("utf-16-le")) // 2


@method("NSString", "isEqualToString:", "B@")
def _equals(_world: World, self: Instance, other: Instance | None) -> bool:
    return other is not None and bool(self["text"] == other["text"])


# NSData.

kind("NSData")


def data_of(world: World, content: bytes) -> Instance:
    """A fresh NSData."""
    return world.runtime.create("NSData", data=content)


@method("NSData", "initWithBytes:length:", "!*Q")
def _data_init(world: World, self: Instance, data: int, length: int) -> Instance:
    self.fields["data"] = world.machine.read(data, length)
    return self


@method("+NSData", "dataWithBytes:length:", "$*Q")
def _data_with(world: World, _self: Class, data: int, length: int) -> Instance:
    return data_of(world, world.machine.read(data, length))


@method("NSData", "length", "Q")
def _data_length(_world: World, self: Instance) -> int:
    return len(self["data"])


@method("NSData", "bytes", "*")
def _data_bytes(world: World, self: Instance) -> int:
    return buffer(world, self, self["data"])


# NSArray.

kind("NSArray")


def array_of(world: World, items: list[Instance]) -> Instance:
    """A fresh NSArray."""
    array = world.runtime.create("NSArray")
    fill(world, array, items)
    return array


def fill(world: World, array: Instance, items: list[Instance]) -> None:
    """Puts the items into a fresh array."""
    array.fields["items"] = list(items)
    for index, item in enumerate(items):
        array.held[str(index)] = world.runtime.retain(item)


@method("NSArray", "initWithObjects:count:", "!*Q")
def _array_init(world: World, self: Instance, objects: int, count: int) -> Instance:
    fill(world, self, [world.runtime.at(world.machine.u64(objects + 8 * index)) for index in range(count)])
    return self


@method("+NSArray", "array", "$")
def _array_empty(world: World, _self: Class) -> Instance:
    return array_of(world, [])


@method("+NSArray", "arrayWithObjects:count:", "$*Q")
def _array_with(world: World, _self: Class, objects: int, count: int) -> Instance:
    return array_of(world, [world.runtime.at(world.machine.u64(objects + 8 * index)) for index in range(count)])


@method("NSArray", "init", "!")
def _array_plain(_world: World, self: Instance) -> Instance:
    self.fields["items"] = []
    return self


@method("NSArray", "count", "Q")
def _count(_world: World, self: Instance) -> int:
    return len(self["items"])


@method("NSArray", "objectAtIndex:", "@Q")
def _object_at(_world: World, self: Instance, index: int) -> Instance:
    if index >= len(self["items"]):
        raise Crash(f"NSRangeException: index {index} of an array of {len(self['items'])}")
    return self["items"][index]  # type: ignore[no-any-return]


@method("NSArray", "firstObject", "@")
def _first(_world: World, self: Instance) -> Instance | None:
    return self["items"][0] if self["items"] else None


@method("NSArray", "countByEnumeratingWithState:objects:count:", "Q**Q")
def _enumerate(world: World, self: Instance, state: int, objects: int, count: int) -> int:
    machine = world.machine
    start = machine.u64(state)
    part = self["items"][start : start + count]
    for index, item in enumerate(part):
        machine.put64(objects + 8 * index, item.address)
    # state, itemsPtr, mutationsPtr (any address whose content stays as it is)
    machine.write(state, struct.pack("<3Q", start + len(part), objects, world.runtime.constant("unchanged")))
    return len(part)


# NSURL.

kind("NSURL", plain=False)


@method("+NSURL", "fileURLWithPath:", "$@")
@method("+NSURL", "fileURLWithPath:isDirectory:", "$@B")
def _url(world: World, _self: Class, path: Instance, *_directory: Any) -> Instance:
    return world.runtime.create("NSURL", path=path["text"])


@method("NSURL", "path", "$")
def _path(world: World, self: Instance) -> Instance:
    return string(world, self["path"])


# NSFileHandle.

kind("NSFileHandle")


@method("NSFileHandle", "initWithFileDescriptor:", "!q")
@method("NSFileHandle", "initWithFileDescriptor:closeOnDealloc:", "!qB")
def _handle(_world: World, self: Instance, descriptor: int, close: bool = False) -> Instance:
    self.fields.update(descriptor=descriptor & 0xFFFF_FFFF, close=close)
    return self


@method("NSFileHandle", "fileDescriptor", "q")
def _descriptor(_world: World, self: Instance) -> int:
    return int(self["descriptor"])


def _close_handle(world: World, self: Instance) -> None:
    if self.get("close"):
        try:
            world.files.close(self["descriptor"])
        except OSError as error:
            raise Crash(f"an NSFileHandle closed the descriptor {self['descriptor']}: {error}") from error


# NSError.

kind("NSError")


def error_of(
    world: World, domain: str, code: int, text: str, reason: str | None = None, below: list[Instance] | None = None
) -> Instance:
    """A fresh NSError. The errors below it are given up to it."""
    error = world.runtime.create("NSError", domain=domain, code=code, error_text=text, reason=reason)
    world.runtime.hold(error, "below", array_of(world, below or []))
    world.runtime.release(error["below"])
    for item in below or []:
        world.runtime.release(item)
    return error


def posix_error(world: World, number: int, text: str | None = None) -> Instance:
    """An NSError of NSPOSIXErrorDomain, with Darwin's number."""
    text = text or os.strerror({35: 11}.get(number, number))
    return error_of(world, "NSPOSIXErrorDomain", number, f"The operation couldn’t be completed. {text}")


def set_error(world: World, pointer: int, error: Instance) -> None:
    """Gives an error through an `NSError **`."""
    world.runtime.autorelease(error)
    if pointer:
        world.machine.put64(pointer, error.address)


@method("NSError", "domain", "$")
def _domain(world: World, self: Instance) -> Instance:
    return string(world, self["domain"])


@method("NSError", "code", "q")
def _code(_world: World, self: Instance) -> int:
    return int(self["code"])


@method("NSError", "localizedDescription", "$")
def _localized_description(world: World, self: Instance) -> Instance:
    return string(world, self["error_text"])


@method("NSError", "localizedFailureReason", "$")
def _reason(world: World, self: Instance) -> Instance | None:
    return None if self["reason"] is None else string(world, self["reason"])


@method("NSError", "localizedRecoverySuggestion", "$")
def _suggestion(_world: World, _self: Instance) -> None:
    return None


@method("NSError", "underlyingErrors", "@")
def _underlying(_world: World, self: Instance) -> Instance:
    return self["below"]  # type: ignore[no-any-return]


# dispatch's objects are Objective-C objects, too.

kind("OS_dispatch_queue", plain=False)
kind("OS_dispatch_semaphore", plain=False)


def _install_finalizers() -> None:
    from .kinds import KINDS

    KINDS["NSString"].finalize = free_buffer
    KINDS["NSData"].finalize = free_buffer
    KINDS["NSFileHandle"].finalize = _close_handle
    KINDS["OS_dispatch_queue"].finalize = lambda world, self: world.dispatch.forget(self.address)


_install_finalizers()


# CoreFoundation: its objects are the same objects.

kind("CFBoolean", plain=False)


@imported("_CFRetain")
def _cf_retain(world: World, a: list[int]) -> int:
    return world.runtime.retain(world.runtime.at(a[0])).address


@imported("_CFRelease")
def _cf_release(world: World, a: list[int]) -> None:
    world.runtime.release(world.runtime.at(a[0]))


@imported("_CFGetTypeID")
def _type_of(world: World, a: list[int]) -> int:
    return world.runtime.at(a[0]).class_.address


def _type_function(name: str, of: str) -> None:
    @imported(name)
    def _type(world: World, _a: list[int]) -> int:
        class_ = world.runtime.find_class(of)
        return class_.address if class_ else 0


_type_function("_CFBooleanGetTypeID", "CFBoolean")
_type_function("_CFStringGetTypeID", "NSString")


@imported("_CFBooleanGetValue")
def _boolean_value(world: World, a: list[int]) -> int:
    return int(world.runtime.at(a[0])["value"])


@imported("_CFStringCreateWithBytes", "_CFStringCreateWithBytesNoCopy")
def _cf_string(world: World, a: list[int]) -> int:
    if a[3] != 0x0800_0100:
        raise Crash(f"CFString from an encoding that is not emulated ({a[3]:#x})")
    return string(world, world.machine.read(a[1], a[2]).decode()).address


def pointer_to(world: World, instance: Instance) -> int:
    """A variable that holds an object for ever."""
    address = world.machine.allocate(16)
    world.machine.put64(address, instance.address)
    return address


def boolean(world: World, value: bool) -> Instance:
    """`kCFBooleanTrue` or `kCFBooleanFalse`."""
    address = world.machine.u64(world.data("_kCFBooleanTrue" if value else "_kCFBooleanFalse"))
    return world.runtime.at(address)


@variable("_kCFBooleanTrue")
def _true(world: World) -> int:
    return pointer_to(world, world.runtime.create("CFBoolean", value=True))


@variable("_kCFBooleanFalse")
def _false(world: World) -> int:
    return pointer_to(world, world.runtime.create("CFBoolean", value=False))


def _allocator(world: World) -> int:
    return world.machine.allocate(64)


for _name in ("_kCFAllocatorDefault", "_kCFAllocatorNull", "_kCFAllocatorSystemDefault"):
    variable(_name)(_allocator)
