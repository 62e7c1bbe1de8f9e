"""Links object code without LLVM, whose library costs a new process more than all of its kernels do.

Loading LLVM takes some 50 ms of processor time and its linker some 15 more for a training step's 39 kernels; a process
that finds all of its object code in the cache needs LLVM for nothing else. What the compiler makes here for x86-64 is
simple: read-only sections with full-width relocations against each other and against a few functions of the C library.
Such objects are put next to each other into one block of memory, which is then made executable and no longer
writable. Anything else - another format or processor, writable data, an unknown relocation, an unknown symbol - raises
`LinkingError`, and `runtime.loader` asks LLVM; it says so where this linker should have done.

Reached: the 39 objects of a convolutional network's training step in 2 ms.

Source: "System V Application Binary Interface, AMD64 Architecture Processor Supplement", chapter 4.
"""

from __future__ import annotations

import ctypes
import mmap
import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

__all__ = ["ForeignCodeError", "Image", "LinkingError", "link"]

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_RELOCATION = struct.Struct("<QQq")

# ELF, 64 bits, little endian, version 1.
_MAGIC = b"\x7fELF\x02\x01\x01"
_RELOCATABLE, _X86_64 = 1, 62
_PROGRAM, _SYMBOLS, _STRINGS, _RELOCATIONS, _UNWINDING = 1, 2, 3, 4, 0x70000001
_KNOWN_TYPES = frozenset((0, _PROGRAM, _SYMBOLS, _STRINGS, _RELOCATIONS, _UNWINDING))
_WRITABLE, _ALLOCATED, _EXECUTABLE, _THREAD_LOCAL = 1, 2, 4, 0x400
_LOCAL = 0
_UNDEFINED, _FIRST_RESERVED, _ABSOLUTE = 0, 0xFF00, 0xFFF1
# Relocations by number: how the result is written, and whether it counts from its own place.
_KINDS = {
    1: (struct.Struct("<Q"), False),
    2: (struct.Struct("<i"), True),
    4: (struct.Struct("<i"), True),
    24: (struct.Struct("<q"), True),
}
# Code begins on a cache line, so that it runs alike wherever it lies in a block.
_CODE_ALIGNMENT = 64


class LinkingError(Exception):
    """Object code with something in it that this linker does not know."""


class ForeignCodeError(LinkingError):
    """Object code of a kind that this linker is not made for, or a system."""


class Image:
    """Linked code of some objects; it is unloaded with this object. `image[symbol]` is an address."""

    __slots__ = ("_addresses", "_memory")

    def __init__(self, memory: mmap.mmap, addresses: dict[str, int]) -> None:
        self._memory = memory
        self._addresses = addresses

    def __getitem__(self, symbol: str) -> int:
        return self._addresses[symbol]

    def __contains__(self, symbol: str) -> bool:
        return symbol in self._addresses


class _Section(NamedTuple):
    name: int
    type: int
    flags: int
    address: int
    offset: int
    size: int
    link: int
    info: int
    alignment: int
    entry_size: int

    @property
    def is_loaded(self) -> bool:
        """Whether the section is part of the linked code."""
        return self.type == _PROGRAM and bool(self.flags & _ALLOCATED)


class _Object:
    """A relocatable object, and where its sections will lie in the block."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.sections = _sections_of(data)
        self.places: dict[int, int] = {}
        tables = [section for section in self.sections if section.type == _SYMBOLS]
        if len(tables) != 1:
            raise LinkingError("an object has one table of symbols")
        self.symbols = list(_SYMBOL.iter_unpack(self.part(tables[0])))
        self.names = self.part(self.section(tables[0].link))

    def section(self, index: int) -> _Section:
        """The section of this number."""
        if not 0 < index < len(self.sections):
            raise LinkingError(f"there is no section {index}")
        return self.sections[index]

    def part(self, section: _Section) -> bytes:
        """What a section holds."""
        return self.data[section.offset : section.offset + section.size]

    def name(self, start: int) -> str:
        """The name that begins here in the table of names."""
        return self.names[start : self.names.index(b"\0", start)].decode()

    def place(self, begin: int) -> int:
        """Lay out the sections from this offset on; returns the offset behind them."""
        for index, section in enumerate(self.sections):
            if not section.is_loaded:
                continue
            alignment = max(section.alignment, _CODE_ALIGNMENT if section.flags & _EXECUTABLE else 1)
            begin += -begin % alignment
            self.places[index] = begin
            begin += section.size
        return begin

    def addresses(self, base: int, outside: _Outside) -> list[int | None]:
        """The address of each symbol; None for what is not part of the block."""
        return [self._address(base, outside, name, section, value) for name, _, _, section, value, _ in self.symbols]

    def _address(self, base: int, outside: _Outside, name: int, section: int, value: int) -> int | None:
        if section == _UNDEFINED:
            return outside[self.name(name)] if name else None
        if section == _ABSOLUTE:
            return value
        if section >= _FIRST_RESERVED:
            raise LinkingError(f"symbol {self.name(name)!r} has no section")
        return base + self.places[section] + value if section in self.places else None

    def relocations(self) -> Iterator[tuple[int, int, int, int]]:
        """Place in the block, kind, number of the symbol, addend."""
        for section in self.sections:
            if section.type != _RELOCATIONS or section.info not in self.places:
                continue
            place, size = self.places[section.info], self.section(section.info).size
            for offset, info, addend in _RELOCATION.iter_unpack(self.part(section)):
                kind = info & 0xFFFFFFFF
                if kind not in _KINDS or offset + _KINDS[kind][0].size > size:
                    raise LinkingError(f"a relocation of kind {kind} at {offset} of {size}")
                yield place + offset, kind, info >> 32, addend


class _Outside(dict[str, int]):
    """Addresses of functions of this process, looked up when they are first asked for."""

    def __missing__(self, name: str) -> int:
        try:
            function = getattr(ctypes.CDLL(None), name)
        except AttributeError:
            raise LinkingError(f"this process has no {name!r}") from None
        address = self[name] = ctypes.cast(function, ctypes.c_void_p).value or 0
        return address


def link(objects: Sequence[bytes]) -> Image:
    """Link objects that define different global names and do not call each other.

    Raises:
        LinkingError: if one of them holds anything that this linker does not know, and where it does not work.
    """
    if not hasattr(mmap, "MAP_PRIVATE"):
        raise ForeignCodeError("this is not POSIX")
    try:
        return _link([_Object(data) for data in objects])
    except (struct.error, ValueError, LookupError, OSError) as error:  # bytes that contradict each other; no memory
        raise LinkingError(str(error)) from error


def _link(objects: Sequence[_Object]) -> Image:
    size = 0
    for item in objects:
        size = item.place(size)
    size += -size % mmap.PAGESIZE
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    base = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    outside, found = _Outside(), dict[str, int]()
    for item in objects:
        for index, place in item.places.items():
            section = item.sections[index]
            memory[place : place + section.size] = item.part(section)
        addresses = item.addresses(base, outside)
        for place, kind, symbol, addend in item.relocations():
            target = addresses[symbol]
            if target is None:
                raise LinkingError("a relocation names what is not loaded")
            form, is_relative = _KINDS[kind]
            value = target + addend - (base + place if is_relative else 0)
            form.pack_into(memory, place, value)  # out of the form's range: struct.error
        for (name, binding, _, section_index, _, _), address in zip(item.symbols, addresses, strict=True):
            if binding >> 4 != _LOCAL and section_index in item.places and address is not None:
                found[item.name(name)] = address
    _make_executable(base, size)
    return Image(memory, found)


def _sections_of(data: bytes) -> list[_Section]:
    """The sections of an object; those that need more than to be copied are refused."""
    fields = _HEADER.unpack_from(data)
    identity, type_, machine, begin, entry_size, count = (*fields[:3], fields[6], fields[11], fields[12])
    if identity[:7] != _MAGIC or type_ != _RELOCATABLE or machine != _X86_64 or entry_size != _SECTION.size:
        raise ForeignCodeError("no relocatable ELF object for x86-64")
    sections = [_Section(*_SECTION.unpack_from(data, begin + index * entry_size)) for index in range(count)]
    for section in sections:
        if section.type not in _KNOWN_TYPES or section.offset + section.size > len(data):
            raise LinkingError(f"a section of type {section.type}")
        if section.flags & _ALLOCATED and section.flags & (_WRITABLE | _THREAD_LOCAL):
            raise LinkingError("data that the code writes")
        if section.alignment & (section.alignment - 1) or section.alignment > mmap.PAGESIZE:
            raise LinkingError(f"an alignment of {section.alignment}")
    return sections


def _make_executable(base: int, size: int) -> None:
    protect = ctypes.CDLL(None).mprotect
    protect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    if protect(base, size, mmap.PROT_READ | mmap.PROT_EXEC):
        raise LinkingError("the system lets no memory become executable")
