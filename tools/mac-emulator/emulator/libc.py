"""libSystem without files: memory, text, environment, threads, time, the end of a process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .clock import EPOCH, SECOND, UPTIME
from .darwin import message_of
from .errors import Crash, Exited
from .machine import STACK_SIZE
from .registry import imported, signed32, variable

if TYPE_CHECKING:
    from .world import World

# Memory; `native` has more of it.


@imported("_malloc", "_valloc")
def _malloc(world: World, a: list[int]) -> int:
    return world.machine.allocate(a[0])


@imported("_calloc")
def _calloc(world: World, a: list[int]) -> int:
    size = a[0] * a[1]
    address = world.machine.allocate(size)
    world.machine.write(address, bytes(size))
    return address


@imported("_free")
def _free(world: World, a: list[int]) -> None:
    if a[0]:
        world.machine.free(a[0])


@imported("_realloc")
def _realloc(world: World, a: list[int]) -> int:
    machine = world.machine
    if not a[0]:
        return machine.allocate(a[1])
    kept = machine.read(a[0], min(machine.size_of(a[0]), a[1]))
    address = machine.allocate(a[1])
    machine.write(address, kept)
    machine.free(a[0])
    return address


@imported("_posix_memalign")
def _posix_memalign(world: World, a: list[int]) -> int:
    world.machine.put64(a[0], world.machine.allocate(a[2], a[1]))
    return 0


@imported("_memmove")
def _memmove(world: World, a: list[int]) -> int:
    world.machine.write(a[0], world.machine.read(a[1], a[2]))
    return a[0]


@imported("_memset")
def _memset(world: World, a: list[int]) -> int:
    world.machine.write(a[0], bytes([a[1] & 0xFF]) * a[2])
    return a[0]


@imported("_bzero")
def _bzero(world: World, a: list[int]) -> None:
    world.machine.write(a[0], bytes(a[1]))


@imported("_memchr")
def _memchr(world: World, a: list[int]) -> int:
    at = world.machine.read(a[0], a[2]).find(a[1] & 0xFF)
    return a[0] + at if at >= 0 else 0


@imported("_strlen")
def _strlen(world: World, a: list[int]) -> int:
    return len(world.machine.bytes_to_zero(a[0]))


@imported("_strcmp")
def _strcmp(world: World, a: list[int]) -> int:
    one, two = world.machine.bytes_to_zero(a[0]), world.machine.bytes_to_zero(a[1])
    return (one > two) - (one < two)


@imported("_mmap")
def _mmap(world: World, a: list[int]) -> int:
    if not a[3] & 0x1000:
        raise Crash("mmap of a file is not emulated")
    if a[3] & 0x10:
        return a[0]
    address = world.machine.allocate(a[1], 0x4000)
    world.machine.write(address, bytes(a[1]))
    return address


@imported("_munmap", "_mprotect", "_madvise", "_msync")
def _map_nothing(_world: World, _a: list[int]) -> int:
    return 0


# Environment and the process.


@imported("_getenv")
def _getenv(world: World, a: list[int]) -> int:
    value = world.environment.get(world.machine.string(a[0]))
    return 0 if value is None else world.runtime.constant(value)


@imported("__NSGetArgc")
def _argc(world: World, _a: list[int]) -> int:
    address = world.machine.allocate(16)
    world.machine.put64(address, len(world.arguments))
    return address


@imported("__NSGetArgv")
def _argv(world: World, _a: list[int]) -> int:
    address = world.machine.allocate(16)
    world.machine.put64(address, world.argument_vector)
    return address


@imported("__NSGetEnviron")
def _environ(world: World, _a: list[int]) -> int:
    address = world.machine.allocate(16)
    world.machine.put64(address, world.argument_vector + 8 * len(world.arguments))
    return address


@imported("__NSGetExecutablePath")
def _executable(world: World, a: list[int]) -> int:
    path = str(world.image.path.resolve()).encode() + b"\0"
    if world.machine.u32(a[1]) < len(path):
        world.machine.put32(a[1], len(path))
        return (1 << 64) - 1
    world.machine.write(a[0], path)
    return 0


@imported("_getpid")
def _getpid(_world: World, _a: list[int]) -> int:
    return 4242


@imported("_getuid", "_geteuid")
def _getuid(_world: World, _a: list[int]) -> int:
    return 501


@imported("_getgid", "_getegid")
def _getgid(_world: World, _a: list[int]) -> int:
    return 20


@imported("_issetugid")
def _issetugid(_world: World, _a: list[int]) -> int:
    return 0


@imported("_abort")
def _abort(_world: World, _a: list[int]) -> int:
    raise Crash("the program called abort")


@imported("_exit", "__exit")
def _exit(_world: World, a: list[int]) -> int:
    raise Exited(signed32(a[0]))


@imported("_sysconf")
def _sysconf(_world: World, a: list[int]) -> int:
    # _SC_PAGESIZE, _SC_NPROCESSORS_ONLN and _SC_NPROCESSORS_CONF; others are asked for buffer sizes.
    return {29: 16384, 58: 8, 57: 8}.get(a[0], 1024)


@imported("_sysctlbyname")
def _sysctlbyname(world: World, a: list[int]) -> int:
    name = world.machine.string(a[0])
    texts = {"kern.osproductversion": f"{world.host.macos}.0", "kern.osversion": "24A335", "hw.model": "Mac14,3"}
    numbers = {"hw.ncpu": 8, "hw.activecpu": 8, "hw.logicalcpu": 8, "kern.hv_support": 1, "sysctl.proc_translated": 0}
    if name in texts:
        data = texts[name].encode() + b"\0"
    elif name == "hw.memsize":
        data = (16 << 30).to_bytes(8, "little")
    elif name in numbers:
        data = numbers[name].to_bytes(4, "little")
    else:
        return world.fail(2)
    if a[1]:
        world.machine.write(a[1], data[: world.machine.u64(a[2])])
    world.machine.put64(a[2], len(data))
    return 0


@imported("_getentropy", "_CCRandomGenerateBytes")
def _random(world: World, a: list[int]) -> int:
    world.machine.write(a[0], world.random.randbytes(a[1]))
    return 0


@imported("_arc4random_buf")
def _arc4random(world: World, a: list[int]) -> None:
    world.machine.write(a[0], world.random.randbytes(a[1]))


@imported("___error")
def _error(world: World, _a: list[int]) -> int:
    return world.errno


@imported("_strerror_r")
def _strerror(world: World, a: list[int]) -> int:
    world.machine.write(a[1], message_of(signed32(a[0])).encode()[: a[2] - 1] + b"\0")
    return 0


# Time.


@imported("_clock_gettime")
def _clock_gettime(world: World, a: list[int]) -> int:
    now = world.clock.look() + (EPOCH if a[0] == 0 else UPTIME)
    world.machine.put64(a[1], now // SECOND)
    world.machine.put64(a[1] + 8, now % SECOND)
    return 0


@imported("_clock_gettime_nsec_np")
def _clock_nanoseconds(world: World, a: list[int]) -> int:
    return world.clock.look() + (EPOCH if a[0] == 0 else UPTIME)


@imported("_mach_absolute_time", "_mach_continuous_time")
def _mach_time(world: World, _a: list[int]) -> int:
    return world.clock.look() + UPTIME


@imported("_mach_timebase_info")
def _timebase(world: World, a: list[int]) -> int:
    world.machine.put32(a[0], 1)
    world.machine.put32(a[0] + 4, 1)
    return 0


@imported("_nanosleep")
def _nanosleep(world: World, a: list[int]) -> int:
    length = world.machine.u64(a[0]) * SECOND + world.machine.u64(a[0] + 8)
    world.dispatch.wait(lambda: False, world.clock.now + length, "nanosleep")
    return 0


@imported("_usleep")
def _usleep(world: World, a: list[int]) -> int:
    world.dispatch.wait(lambda: False, world.clock.now + a[0] * 1000, "usleep")
    return 0


@imported("_sched_yield")
def _yield(world: World, _a: list[int]) -> int:
    world.dispatch.run_due()
    return 0


# Threads: there is one, and as many as dispatch needs. Locks are never contended.


@imported("__tlv_bootstrap")
def _thread_local(world: World, a: list[int]) -> int:
    return world.thread.variables + world.machine.u64(a[0] + 16)


@imported("__tlv_atexit")
def _thread_exit(_world: World, _a: list[int]) -> int:
    return 0


@imported("_pthread_self", "_pthread_main_thread_np")
def _pthread_self(world: World, _a: list[int]) -> int:
    return world.thread.stack


@imported("_pthread_main_np")
def _pthread_main(world: World, _a: list[int]) -> int:
    return int(world.thread.number == 0)


@imported("_pthread_threadid_np")
def _thread_id(world: World, a: list[int]) -> int:
    world.machine.put64(a[1], 1 + world.thread.number)
    return 0


@imported("_pthread_get_stackaddr_np")
def _stack_address(world: World, _a: list[int]) -> int:
    return world.thread.stack


@imported("_pthread_get_stacksize_np")
def _stack_size(_world: World, _a: list[int]) -> int:
    return STACK_SIZE


@imported(
    "_pthread_mutex_init", "_pthread_mutex_lock", "_pthread_mutex_trylock", "_pthread_mutex_unlock",
    "_pthread_mutex_destroy", "_pthread_mutexattr_init", "_pthread_mutexattr_settype", "_pthread_mutexattr_destroy",
    "_pthread_rwlock_rdlock", "_pthread_rwlock_wrlock", "_pthread_rwlock_unlock", "_pthread_rwlock_destroy",
    "_pthread_cond_init", "_pthread_cond_signal", "_pthread_cond_broadcast", "_pthread_cond_destroy",
    "_pthread_setname_np", "_pthread_sigmask", "_sigaction", "_sigaltstack", "_signal", "_os_unfair_lock_lock",
    "_os_unfair_lock_unlock", "_pthread_atfork", "_sigemptyset", "_sigaddset",
)  # fmt: skip
def _done(_world: World, _a: list[int]) -> int:
    return 0


@imported("_pthread_key_create")
def _key_create(world: World, a: list[int]) -> int:
    world.keys += 1
    world.machine.put64(a[0], world.keys)
    return 0


@imported("_pthread_setspecific")
def _set_specific(world: World, a: list[int]) -> int:
    world.thread.specific[a[0]] = a[1]
    return 0


@imported("_pthread_getspecific")
def _get_specific(world: World, a: list[int]) -> int:
    return world.thread.specific.get(a[0], 0)


@imported("_dlsym")
def _dlsym(_world: World, _a: list[int]) -> int:
    # What the program looks for so, it can do without.
    return 0


# Unwinding: release builds abort on panic, and the backtrace is empty.


@imported("__Unwind_Backtrace")
def _backtrace(_world: World, _a: list[int]) -> int:
    return 5


@imported("__dyld_image_count")
def _image_count(_world: World, _a: list[int]) -> int:
    return 0


@variable("dyld_stub_binder")
def _stub_binder(world: World) -> int:
    return world.machine.allocate(16)
