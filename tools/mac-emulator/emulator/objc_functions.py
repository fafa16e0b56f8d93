"""The functions of libobjc."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import Crash
from .log import AddedMethod
from .objc import SIZE, Class
from .registry import imported

if TYPE_CHECKING:
    from .world import World

# Messages.


@imported("_objc_msgSend")
def _send(world: World, a: list[int]) -> int:
    return world.runtime.send(a[0], world.runtime.selector(a[1]), a[2:])


@imported("_objc_msgSendSuper")
def _send_super(world: World, a: list[int]) -> int:
    receiver, class_ = world.machine.u64(a[0]), world.runtime.class_at(world.machine.u64(a[0] + 8))
    selector = world.runtime.selector(a[1])
    if selector == "dealloc":
        for parent in class_.chain():
            if selector in parent.implementations:
                return world.call(parent.implementations[selector], receiver, a[1])
        world.runtime.end(world.runtime.at(receiver))
        return 0
    return world.runtime.send(receiver, selector, a[2:], class_)


@imported("_sel_registerName", "_sel_getUid")
def _register_name(world: World, a: list[int]) -> int:
    return world.runtime.constant(world.machine.string(a[0]))


@imported("_sel_getName")
def _selector_name(_world: World, a: list[int]) -> int:
    return a[0]


# Objects.


@imported("_objc_alloc", "_objc_allocWithZone")
def _alloc(world: World, a: list[int]) -> int:
    return world.runtime.allocate(world.runtime.class_at(a[0])).address if a[0] else 0


@imported("_objc_alloc_init")
def _alloc_init(world: World, a: list[int]) -> int:
    return world.runtime.send(_alloc(world, a), "init", [])


@imported("_objc_opt_new")
def _opt_new(world: World, a: list[int]) -> int:
    return world.runtime.send(a[0], "new", [])


@imported("_objc_opt_respondsToSelector")
def _opt_responds(world: World, a: list[int]) -> int:
    return world.runtime.send(a[0], "respondsToSelector:", a[1:])


@imported("_objc_opt_isKindOfClass")
def _opt_is_kind(world: World, a: list[int]) -> int:
    return world.runtime.send(a[0], "isKindOfClass:", a[1:])


@imported("_objc_retain")
def _retain(world: World, a: list[int]) -> int:
    if a[0] in world.runtime.blocks.counts:
        return world.runtime.blocks.copy(a[0])
    if a[0] and a[0] not in world.runtime.by_address:
        world.runtime.send(a[0], "retain", [])
    return a[0]


@imported("_objc_release")
def _release(world: World, a: list[int]) -> None:
    if a[0] in world.runtime.blocks.counts:
        world.runtime.blocks.release(a[0])
    elif a[0] and a[0] not in world.runtime.by_address:
        world.runtime.send(a[0], "release", [])


@imported("_objc_autorelease", "_objc_autoreleaseReturnValue")
def _autorelease(world: World, a: list[int]) -> int:
    if a[0]:
        world.runtime.autorelease(world.runtime.at(a[0]))
    return a[0]


@imported("_objc_retainAutorelease", "_objc_retainAutoreleaseReturnValue")
def _retain_autorelease(world: World, a: list[int]) -> int:
    if a[0]:
        world.runtime.autorelease(world.runtime.retain(world.runtime.at(a[0])))
    return a[0]


@imported("_objc_retainAutoreleasedReturnValue", "_objc_claimAutoreleasedReturnValue")
def _take_over(world: World, a: list[int]) -> int:
    if a[0]:
        world.runtime.take_over(world.runtime.at(a[0]))
    return a[0]


@imported("_objc_autoreleasePoolPush")
def _push(world: World, _a: list[int]) -> int:
    return world.runtime.push_pool()


@imported("_objc_autoreleasePoolPop")
def _pop(world: World, a: list[int]) -> None:
    world.runtime.pop_pool(a[0])


# Weak references.


@imported("_objc_initWeak", "_objc_storeWeak")
def _store_weak(world: World, a: list[int]) -> int:
    _forget(world, a[0])
    world.machine.put64(a[0], a[1])
    if a[1]:
        world.runtime.weak.setdefault(a[1], set()).add(a[0])
    return a[1]


def _forget(world: World, slot: int) -> None:
    for slots in world.runtime.weak.values():
        slots.discard(slot)


@imported("_objc_destroyWeak")
def _destroy_weak(world: World, a: list[int]) -> None:
    _forget(world, a[0])


@imported("_objc_loadWeakRetained")
def _load_weak(world: World, a: list[int]) -> int:
    address = world.machine.u64(a[0])
    if address:
        world.runtime.retain(world.runtime.at(address))
    return address


# Classes.


@imported("_objc_getClass", "_objc_lookUpClass")
def _get_class(world: World, a: list[int]) -> int:
    class_ = world.runtime.find_class(world.machine.string(a[0]))
    return class_.address if class_ else 0


@imported("_object_getClass")
def _object_class(world: World, a: list[int]) -> int:
    if not a[0]:
        return 0
    # A class stands for its own metaclass.
    return a[0] if a[0] in world.runtime.by_address else world.runtime.at(a[0]).class_.address


@imported("_class_getName")
def _class_name(world: World, a: list[int]) -> int:
    return world.runtime.constant(world.runtime.class_at(a[0]).name if a[0] else "nil")


@imported("_object_getClassName")
def _object_class_name(world: World, a: list[int]) -> int:
    return _class_name(world, [_object_class(world, a)])


@imported("_class_getSuperclass")
def _superclass(world: World, a: list[int]) -> int:
    parent = world.runtime.class_at(a[0]).parent
    return parent.address if parent else 0


@imported("_class_isMetaClass")
def _is_metaclass(_world: World, _a: list[int]) -> int:
    return 0


@imported("_class_getInstanceSize")
def _instance_size(world: World, a: list[int]) -> int:
    return world.runtime.class_at(a[0]).size


@imported("_class_respondsToSelector")
def _class_responds(world: World, a: list[int]) -> int:
    return int(world.runtime.responds(world.runtime.class_at(a[0]), world.runtime.selector(a[1])))


@imported("_class_getInstanceMethod")
def _instance_method(world: World, a: list[int]) -> int:
    # Only whether there is one can be asked: release builds do not look at its types.
    found = world.runtime.responds(world.runtime.class_at(a[0]), world.runtime.selector(a[1]))
    return world.runtime.constant("method") if found else 0


@imported("_objc_getProtocol")
def _protocol(world: World, a: list[int]) -> int:
    name = world.machine.string(a[0])
    return world.runtime.protocols.setdefault(name, world.runtime.constant(f"@protocol {name}"))


# Classes of the program.


@imported("_objc_allocateClassPair")
def _new_class(world: World, a: list[int]) -> int:
    parent, name = world.runtime.class_at(a[0]), world.machine.string(a[1])
    if name in world.runtime.classes:
        return 0
    size = max(parent.size, SIZE)
    return world.runtime.add_class(Class(name, world.machine.allocate(64), parent, size=size)).address


@imported("_class_addIvar")
def _add_variable(world: World, a: list[int]) -> int:
    class_ = world.runtime.class_at(a[0])
    alignment = 1 << (a[3] & 0xFF)
    offset = -(-class_.size // alignment) * alignment
    class_.size = offset + a[2]
    handle = world.machine.allocate(16)
    class_.variables[world.machine.string(a[1])] = handle
    world.runtime.offsets[handle] = offset
    return 1


@imported("_class_getInstanceVariable")
def _variable(world: World, a: list[int]) -> int:
    name = world.machine.string(a[1])
    for class_ in world.runtime.class_at(a[0]).chain():
        if name in class_.variables:
            return class_.variables[name]
    return 0


@imported("_ivar_getOffset")
def _offset(world: World, a: list[int]) -> int:
    return world.runtime.offsets[a[0]]


@imported("_class_addMethod")
def _add_method(world: World, a: list[int]) -> int:
    class_, selector = world.runtime.class_at(a[0]), world.runtime.selector(a[1])
    class_.implementations[selector] = a[2]
    world.log.added.append(AddedMethod(class_.name, selector, world.machine.string(a[3])))
    return 1


@imported("_class_addProtocol")
def _add_protocol(world: World, a: list[int]) -> int:
    protocol = world.machine.string(a[1]).removeprefix("@protocol ")
    world.log.protocols.append((world.runtime.class_at(a[0]).name, protocol))
    return 1


@imported("_objc_registerClassPair")
def _register_class(_world: World, _a: list[int]) -> None:
    return None


@imported("_objc_exception_throw")
def _throw(world: World, a: list[int]) -> int:
    raise Crash(f"the program threw an Objective-C exception ({a[0]:#x}) at {world.machine.place()}")
