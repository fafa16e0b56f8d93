"""The emulated processor: memory, registers, traps for imported functions, calls into the program.

Memory lies in buffers of our own which Unicorn maps, so that Python reads and writes it without a call into Unicorn.
Each imported function is a trap: an address whose only instruction is `ret`, with a hook before it. The hook reads
the arguments, answers in Python, writes the result, and the `ret` goes back into the program.

Python may call into the program from inside a trap (`Machine.call`): Unicorn nests such runs.
"""

from __future__ import annotations

import ctypes
import mmap
import struct
from collections.abc import Callable
from dataclasses import dataclass

from unicorn import UC_ARCH_ARM64, UC_HOOK_CODE, UC_HOOK_MEM_INVALID, UC_MODE_ARM
from unicorn import arm64_const as arm
from unicorn.unicorn_py3 import Uc, UcError
from unicorn.unicorn_py3.unicorn import uclib

from .errors import Crash, Unknown

PAGE = 0x4000
HEAP = 0x2_0000_0000
HEAP_SIZE = 512 << 20
STACKS = 0x3_0000_0000
STACK_SIZE = 2 << 20
STACK_COUNT = 16
TRAPS = 0x4_0000_0000
TRAPS_SIZE = 1 << 20
SLOT = 16
RET = struct.pack("<I", 0xD65F03C0)
MASK = (1 << 64) - 1
# The end of a call into the program: Unicorn stops before it runs what is there.
RETURN = TRAPS

Arguments = list[int]
Handler = Callable[[Arguments], "int | None"]


@dataclass
class Region:
    """A mapped range of the program's memory."""

    start: int
    end: int
    buffer: mmap.mmap
    writable: bool = True


class Machine:
    """One emulated processor with its memory. Not for more than one program, nor for more than one thread."""

    def __init__(self) -> None:
        self.uc = Uc(UC_ARCH_ARM64, UC_MODE_ARM)
        # Apple's targets use the atomics of ARMv8.1.
        self.uc.ctl_set_cpu_model(arm.UC_CPU_ARM64_MAX)
        self.uc.reg_write(arm.UC_ARM64_REG_CPACR_EL1, 3 << 20)
        self.regions: list[Region] = []
        self.map(HEAP, HEAP_SIZE)
        self.map(STACKS, STACK_SIZE * STACK_COUNT)
        self.map(TRAPS, TRAPS_SIZE)
        self.write(TRAPS, RET * (TRAPS_SIZE // 4))
        self.names: list[str] = ["(return)"]
        self.handlers: list[Handler] = [self._no_handler]
        self.traps: dict[str, int] = {}
        self.missing: Callable[[str], Handler] = lambda name: self._unknown(name)
        self.calls = 0
        self._moved = False
        self._free: dict[int, list[int]] = {}
        self._sizes: dict[int, int] = {}
        self._top = HEAP + PAGE
        self._failure: BaseException | None = None
        self._prepare_registers()
        self.uc.hook_add(UC_HOOK_CODE, self._trap, begin=TRAPS + SLOT, end=TRAPS + TRAPS_SIZE - 1)
        self.uc.hook_add(UC_HOOK_MEM_INVALID, self._invalid)

    # Registers. Unicorn's own functions take 7 µs a register; its library called directly, less than one.

    def _prepare_registers(self) -> None:
        numbers = [*(arm.UC_ARM64_REG_X0 + index for index in range(8)), arm.UC_ARM64_REG_LR]
        count = len(numbers)
        self._values = (ctypes.c_uint64 * count)()
        self._ids = (ctypes.c_int * count)(*numbers)
        base = ctypes.addressof(self._values)
        self._pointers = (ctypes.c_void_p * count)(*[base + 8 * index for index in range(count)])
        self._one = ctypes.c_uint64()
        self._one_reference = ctypes.byref(self._one)
        self._handle = self.uc._uch

    def register(self, number: int) -> int:
        """Reads a register by Unicorn's number for it."""
        uclib.uc_reg_read(self._handle, number, self._one_reference)
        return self._one.value

    def set_register(self, number: int, value: int) -> None:
        """Writes a register by Unicorn's number for it."""
        self._one.value = value & MASK
        uclib.uc_reg_write(self._handle, number, self._one_reference)

    @property
    def stack(self) -> int:
        """The stack register."""
        return self.register(arm.UC_ARM64_REG_SP)

    def set_register_stack(self, address: int) -> None:
        """Sets the stack register, before the first call."""
        self.set_register(arm.UC_ARM64_REG_SP, address)

    def stack_argument(self, index: int) -> int:
        """A variadic argument: on Apple's arm64 all of them are on the stack, eight bytes each."""
        return self.u64(self.register(arm.UC_ARM64_REG_SP) + 8 * index)

    # Memory.

    def map(self, start: int, size: int) -> Region:
        """Maps zeroed memory. Both must be multiples of the page size."""
        buffer = mmap.mmap(-1, size)
        pointer = ctypes.addressof(ctypes.c_char.from_buffer(buffer))
        self.uc.mem_map_ptr(start, size, 7, pointer)
        region = Region(start, start + size, buffer)
        self.regions.append(region)
        return region

    def _region(self, address: int, size: int) -> Region:
        for region in self.regions:
            if region.start <= address and address + size <= region.end:
                return region
        raise Crash(f"a function was given the bad address {address:#x} ({size} bytes)")

    def read(self, address: int, size: int) -> bytes:
        """Reads memory."""
        if size == 0:
            return b""
        region = self._region(address, size)
        start = address - region.start
        return region.buffer[start : start + size]

    def write(self, address: int, data: bytes) -> None:
        """Writes memory."""
        if data:
            region = self._region(address, len(data))
            start = address - region.start
            region.buffer[start : start + len(data)] = data

    def u64(self, address: int) -> int:
        """Reads eight bytes."""
        region = self._region(address, 8)
        return int(struct.unpack_from("<Q", region.buffer, address - region.start)[0])

    def u32(self, address: int) -> int:
        """Reads four bytes."""
        return int.from_bytes(self.read(address, 4), "little")

    def put64(self, address: int, value: int) -> None:
        """Writes eight bytes."""
        region = self._region(address, 8)
        struct.pack_into("<Q", region.buffer, address - region.start, value & MASK)

    def put32(self, address: int, value: int) -> None:
        """Writes four bytes."""
        self.write(address, struct.pack("<I", value & 0xFFFF_FFFF))

    def string(self, address: int) -> str:
        """Reads text that ends with a zero byte."""
        return self.bytes_to_zero(address).decode("utf-8", "replace")

    def bytes_to_zero(self, address: int) -> bytes:
        """Reads bytes up to a zero byte."""
        region = self._region(address, 1)
        start = address - region.start
        end = region.buffer.find(b"\0", start)
        if end < 0:
            raise Crash(f"text without an end at {address:#x}")
        return region.buffer[start:end]

    # The heap: first fit by size class, and every block known, so that a wrong `free` is seen.

    def allocate(self, size: int, alignment: int = 16) -> int:
        """Gives a block of the heap, not zeroed when it is used again."""
        room = max(16, 1 << (size - 1).bit_length()) if size < PAGE else -(-size // PAGE) * PAGE
        if alignment <= 16 or (alignment <= room < PAGE):
            alignment = min(room, PAGE)
        free = self._free.get(room)
        if free:
            for index in range(len(free) - 1, max(-1, len(free) - 9), -1):
                if free[index] % alignment == 0:
                    address = free.pop(index)
                    self._sizes[address] = size
                    return address
        address = -(-self._top // alignment) * alignment
        self._top = address + room
        if self._top > HEAP + HEAP_SIZE:
            raise Crash("the emulated heap is full")
        self._sizes[address] = size
        return address

    def free(self, address: int) -> None:
        """Takes a block back."""
        size = self._sizes.pop(address, None)
        if size is None:
            raise Crash(f"free of {address:#x}, which is no block of the heap, or was freed before")
        room = max(16, 1 << (size - 1).bit_length()) if size < PAGE else -(-size // PAGE) * PAGE
        self._free.setdefault(room, []).append(address)

    @property
    def blocks_in_use(self) -> int:
        """How many blocks of the heap were not given back."""
        return len(self._sizes)

    def size_of(self, address: int) -> int:
        """The size that a block was asked for."""
        if address not in self._sizes:
            raise Crash(f"{address:#x} is no block of the heap")
        return self._sizes[address]

    def store(self, data: bytes) -> int:
        """Puts bytes into a new block."""
        address = self.allocate(len(data))
        self.write(address, data)
        return address

    def store_string(self, text: str) -> int:
        """Puts text with a zero byte into a new block."""
        return self.store(text.encode() + b"\0")

    # Traps.

    def trap(self, name: str, handler: Handler) -> int:
        """The address that stands for an imported function."""
        if name not in self.traps:
            self.traps[name] = TRAPS + SLOT * len(self.handlers)
            self.names.append(name)
            self.handlers.append(handler)
        return self.traps[name]

    def _no_handler(self, _arguments: Arguments) -> int:
        raise Crash("the program ran into the end of a call")

    def _unknown(self, name: str) -> Handler:
        def fail(_arguments: Arguments) -> int:
            raise Unknown(f"the program calls `{name}`, for which there is no fake")

        return fail

    def _trap(self, _uc: Uc, address: int, _size: int, _data: object) -> None:
        self.calls += 1
        uclib.uc_reg_read_batch(self._handle, self._ids, self._pointers, 9)
        *arguments, link = self._values
        self._moved = False
        try:
            result = self.handlers[(address - TRAPS) // SLOT](arguments)
        except BaseException as error:
            if self._failure is None:
                self._failure = error
            self.uc.emu_stop()
            return
        self.set_register(arm.UC_ARM64_REG_X0, result or 0)
        if self._moved:
            self.set_register(arm.UC_ARM64_REG_LR, link)
            self.set_register(arm.UC_ARM64_REG_PC, link)

    def call(self, function: int, arguments: Arguments, stack: int | None = None) -> int:
        """Calls a function of the program and gives its result. Works inside traps, too.

        What the function may change by the calling convention is changed; the stack and link registers are not.
        """
        saved_stack = self.register(arm.UC_ARM64_REG_SP)
        saved_link = self.register(arm.UC_ARM64_REG_LR)
        if stack is not None:
            self.set_register(arm.UC_ARM64_REG_SP, stack)
        for index, value in enumerate(arguments):
            self.set_register(arm.UC_ARM64_REG_X0 + index, value)
        self.set_register(arm.UC_ARM64_REG_LR, RETURN)
        try:
            self.uc.emu_start(function, RETURN)
        except UcError as error:
            if self._failure is None:
                self._failure = Crash(f"{error} at {self.place()}")
        if self._failure is not None:
            failure = self._failure
            # The outermost call forgets it, and the world is over then.
            raise failure
        self.set_register(arm.UC_ARM64_REG_SP, saved_stack)
        self.set_register(arm.UC_ARM64_REG_LR, saved_link)
        self._moved = True
        return self.register(arm.UC_ARM64_REG_X0)

    def place(self) -> str:
        """Where the program is, for messages."""
        counter, link = self.register(arm.UC_ARM64_REG_PC), self.register(arm.UC_ARM64_REG_LR)
        return f"{counter:#x}, called from {link:#x}"

    def _invalid(self, _uc: Uc, _access: int, address: int, _size: int, _value: int, _data: object) -> bool:
        if self._failure is None:
            self._failure = Crash(f"the program touched the bad address {address:#x} at {self.place()}")
        return False
