"""The program's file: a thin arm64 Mach-O executable, with its fixups and its code signature.

Formats: Apple's `mach-o/loader.h`, `mach-o/fixup-chains.h` and `cs_blobs.h`, as they are published with xnu and dyld
(confidence: high). Only what linkers of today write is read: chained fixups, one architecture.
"""

from __future__ import annotations

import hashlib
import plistlib
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from .machine import PAGE, Machine

MH_MAGIC_64 = 0xFEEDFACF
CPU_ARM64 = 0x0100000C
MH_EXECUTE = 2
LC_SEGMENT_64 = 0x19
LC_LOAD_DYLIB = 0xC
LC_LOAD_WEAK_DYLIB = 0x80000018
LC_CODE_SIGNATURE = 0x1D
LC_DYLD_CHAINED_FIXUPS = 0x80000034
LC_MAIN = 0x80000028
LC_BUILD_VERSION = 0x32

THREAD_LOCAL_REGULAR = 0x11
THREAD_LOCAL_ZEROFILL = 0x12
MODULE_INITIALIZERS = 0x9
INITIALIZER_OFFSETS = 0x16

DYLD_CHAINED_PTR_64 = 2
DYLD_CHAINED_PTR_64_OFFSET = 6
CHAIN_END = 0xFFFF

SUPERBLOB = 0xFADE0CC0
CODE_DIRECTORY = 0xFADE0C02
ENTITLEMENTS = 0xFADE7171


class BadImage(Exception):
    """The file is no program that macOS would run, or that this emulator can."""


@dataclass
class Segment:
    """A segment of the file."""

    name: str
    address: int
    size: int
    offset: int
    file_size: int


@dataclass
class Signature:
    """What the code signature says."""

    identifier: str
    flags: int
    entitlements: dict[str, object] = field(default_factory=dict)

    @property
    def is_made_by_linker(self) -> bool:
        """Whether only the linker signed it."""
        return bool(self.flags & 0x20000)


@dataclass
class Image:
    """A program's file, taken apart."""

    path: Path
    data: bytes
    segments: list[Segment] = field(default_factory=list)
    # Address, size and type of the sections that make up a thread's variables.
    thread_locals: list[tuple[int, int, int]] = field(default_factory=list)
    libraries: list[str] = field(default_factory=list)
    entry: int = 0
    fixups: int = 0
    minimum_system: tuple[int, int] = (0, 0)
    signature: Signature | None = None

    @property
    def base(self) -> int:
        """The address of the file's first byte."""
        return next(segment.address for segment in self.segments if segment.name == "__TEXT")

    @classmethod
    def read(cls, path: Path) -> Image:
        """Reads a file and checks its signature, as macOS does before it runs one."""
        image = cls(path, path.read_bytes())
        magic, cpu, _, kind, count = struct.unpack_from("<5I", image.data)
        if (magic, cpu, kind) != (MH_MAGIC_64, CPU_ARM64, MH_EXECUTE):
            raise BadImage(f"{path} is no arm64 Mach-O program")
        offset = 32
        for _ in range(count):
            command, size = struct.unpack_from("<2I", image.data, offset)
            image._command(command, offset, size)
            offset += size
        if image.signature is None:
            raise BadImage(f"{path} is not signed at all: macOS on Apple silicon kills it")
        if image.fixups == 0 or image.entry == 0:
            raise BadImage(f"{path} has no chained fixups or no entry point")
        return image

    def _command(self, command: int, offset: int, size: int) -> None:
        if command == LC_SEGMENT_64:
            self._segment(offset)
        elif command == LC_DYLD_CHAINED_FIXUPS:
            self.fixups = struct.unpack_from("<I", self.data, offset + 8)[0]
        elif command == LC_MAIN:
            self.entry = struct.unpack_from("<Q", self.data, offset + 8)[0]
        elif command in (LC_LOAD_DYLIB, LC_LOAD_WEAK_DYLIB):
            start = offset + struct.unpack_from("<I", self.data, offset + 8)[0]
            self.libraries.append(self.data[start : offset + size].split(b"\0")[0].decode())
        elif command == LC_BUILD_VERSION:
            version = struct.unpack_from("<I", self.data, offset + 12)[0]
            self.minimum_system = (version >> 16, version >> 8 & 0xFF)
        elif command == LC_CODE_SIGNATURE:
            start, length = struct.unpack_from("<2I", self.data, offset + 8)
            self.signature = read_signature(self.data, start, length)

    def _segment(self, offset: int) -> None:
        name = self.data[offset + 8 : offset + 24].rstrip(b"\0").decode()
        address, size, file_offset, file_size = struct.unpack_from("<4Q", self.data, offset + 24)
        self.segments.append(Segment(name, address, size, file_offset, file_size))
        sections = struct.unpack_from("<I", self.data, offset + 64)[0]
        for index in range(sections):
            at = offset + 72 + 80 * index
            start, length = struct.unpack_from("<2Q", self.data, at + 32)
            kind = struct.unpack_from("<I", self.data, at + 64)[0] & 0xFF
            if kind in (THREAD_LOCAL_REGULAR, THREAD_LOCAL_ZEROFILL):
                self.thread_locals.append((start, length, kind))
            elif kind in (MODULE_INITIALIZERS, INITIALIZER_OFFSETS) and length:
                raise BadImage(f"{self.path} has initialisers that run before main, which are not emulated")

    # Loading.

    def load(self, machine: Machine, resolve: Callable[[str], int]) -> None:
        """Maps the segments and binds the imports to what `resolve` gives for their names."""
        for segment in self.segments:
            if segment.name == "__PAGEZERO":
                continue
            machine.map(segment.address, -(-segment.size // PAGE) * PAGE)
            machine.write(segment.address, self.data[segment.offset : segment.offset + segment.file_size])
        self._bind(machine, resolve)

    def imports(self) -> list[str]:
        """The names of all imported symbols, in the order of the file."""
        _, _, imports, names, count, kind, _ = struct.unpack_from("<7I", self.data, self.fixups)
        if kind != 1:
            raise BadImage(f"{self.path}: imports of format {kind}")
        result = []
        for index in range(count):
            value = struct.unpack_from("<I", self.data, self.fixups + imports + 4 * index)[0]
            start = self.fixups + names + (value >> 9)
            result.append(self.data[start : self.data.index(b"\0", start)].decode())
        return result

    def _bind(self, machine: Machine, resolve: Callable[[str], int]) -> None:
        symbols = [resolve(name) for name in self.imports()]
        starts = self.fixups + struct.unpack_from("<I", self.data, self.fixups + 4)[0]
        count = struct.unpack_from("<I", self.data, starts)[0]
        for index in range(count):
            offset = struct.unpack_from("<I", self.data, starts + 4 + 4 * index)[0]
            if offset == 0:
                continue
            at = starts + offset
            _, page_size, kind, _, _, pages = struct.unpack_from("<IHHQIH", self.data, at)
            if kind not in (DYLD_CHAINED_PTR_64, DYLD_CHAINED_PTR_64_OFFSET):
                raise BadImage(f"{self.path}: chained fixups of format {kind}")
            base = self.base if kind == DYLD_CHAINED_PTR_64_OFFSET else 0
            for page in range(pages):
                first = struct.unpack_from("<H", self.data, at + 22 + 2 * page)[0]
                if first != CHAIN_END:
                    address = self.segments[index].address + page * page_size + first
                    follow_chain(machine, address, base, symbols)

    def new_thread_locals(self, machine: Machine) -> int:
        """Makes the block of a new thread's variables; 0 if the program has none."""
        if not self.thread_locals:
            return 0
        start = min(address for address, _, _ in self.thread_locals)
        end = max(address + size for address, size, _ in self.thread_locals)
        block = machine.allocate(end - start, 64)
        machine.write(block, bytes(end - start))
        for address, size, kind in self.thread_locals:
            if kind == THREAD_LOCAL_REGULAR:
                machine.write(block + address - start, machine.read(address, size))
        return block


def follow_chain(machine: Machine, address: int, base: int, symbols: list[int]) -> None:
    """Fixes the pointers of one page."""
    while True:
        value = machine.u64(address)
        step = value >> 51 & 0xFFF
        if value >> 63:
            machine.put64(address, symbols[value & 0xFF_FFFF] + (value >> 24 & 0xFF))
        else:
            machine.put64(address, (value & (1 << 36) - 1) + base | (value >> 36 & 0xFF) << 56)
        if step == 0:
            return
        address += 4 * step


def read_signature(data: bytes, start: int, length: int) -> Signature:
    """Reads an embedded signature and compares the hash of every page and of the entitlements."""
    blob = data[start : start + length]
    magic, _, count = struct.unpack_from(">3I", blob)
    if magic != SUPERBLOB:
        raise BadImage("the code signature is damaged")
    parts: dict[int, bytes] = {}
    for index in range(count):
        slot, offset = struct.unpack_from(">2I", blob, 12 + 8 * index)
        size = struct.unpack_from(">I", blob, offset + 4)[0]
        parts[slot] = blob[offset : offset + size]
    directory = parts.get(0, b"")
    if len(directory) < 44 or struct.unpack_from(">I", directory)[0] != CODE_DIRECTORY:
        raise BadImage("the code signature has no code directory")
    _, _, _, flags, hashes, name, special, code, limit = struct.unpack_from(">9I", directory)
    hash_size, hash_type, _, page_bits = struct.unpack_from(">4B", directory, 36)
    if (hash_size, hash_type) != (32, 2):
        raise BadImage("the code signature is not of SHA-256")
    page = 1 << page_bits
    for index in range(code):
        expected = directory[hashes + 32 * index : hashes + 32 * index + 32]
        if hashlib.sha256(data[index * page : min((index + 1) * page, limit)]).digest() != expected:
            raise BadImage(f"page {index} was changed after signing: macOS kills the program")
    for slot, part in parts.items():
        if 0 < slot <= special:
            at = hashes - 32 * slot
            if hashlib.sha256(part).digest() != directory[at : at + 32]:
                raise BadImage(f"slot {slot} of the code signature was changed after signing")
    identifier = directory[name : directory.index(b"\0", name)].decode()
    signature = Signature(identifier, flags)
    if 5 in parts and struct.unpack_from(">I", parts[5])[0] == ENTITLEMENTS:
        signature.entitlements = plistlib.loads(parts[5][8:])
    return signature
