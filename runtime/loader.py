"""Relocatable object code to callable addresses, through `runtime.linking`, or LLVM where that does not know enough.

Objects are linked into libraries in which no name is defined twice, so equal symbol names in two objects do
not meet, and a symbol that cannot be resolved is an error here and not the end of the process. Code is unloaded
with the last `LoadedCode` of its library; the same bytes are linked once. LLVM is loaded when it is needed and not
before; on x86-64 with ELF it should never be, and a warning says why it is.
"""

from __future__ import annotations

import itertools
import os
import threading
import warnings
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any
from weakref import WeakValueDictionary

from runtime.linking import ForeignCodeError, LinkingError, link

__all__ = ["LinkingWarning", "LoadError", "LoadedCode", "load", "load_all", "load_objects", "target_machine"]


class LoadError(RuntimeError):
    """Object code that this process cannot link."""


class LinkingWarning(UserWarning):
    """LLVM has to link kernels in this process, which then takes longer to start; programs run all the same."""


class LoadedCode:
    """Linked machine code. `address` is that of its function and is valid while this object lives."""

    __slots__ = ("__weakref__", "_tracker", "address", "symbol")

    def __init__(self, symbol: str, tracker: Any) -> None:
        self.symbol = symbol
        self.address: int = tracker[symbol]
        self._tracker = tracker

    def __repr__(self) -> str:
        return f"LoadedCode({self.symbol!r} at {self.address:#x})"


_lock = threading.Lock()
_engine: Any = None
_has_warned = False
_numbers = itertools.count()
_loaded: WeakValueDictionary[tuple[str, bytes], LoadedCode] = WeakValueDictionary()


def target_machine(optimization: int = 3) -> Any:
    """An LLVM target machine for this process's processor; `optimization` is LLVM's level 0 to 3."""
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(),
        features=llvm.get_host_cpu_features().flatten(),
        opt=optimization,
        reloc="default",
        codemodel="jitdefault",
        jit=True,
    )


def load(symbol: str, object_code: bytes) -> LoadedCode:
    """Link `object_code` and find its function `symbol`.

    Raises `LoadError` when the bytes are no object code for this machine, do not define `symbol`, or need a
    symbol that this process does not have.
    """
    (code,) = load_objects([(symbol, object_code)])
    return code


def load_objects(objects: Sequence[tuple[str, bytes]]) -> tuple[LoadedCode, ...]:
    """`load` for several pairs of a symbol and object code: those that are not linked yet are linked together, into
    one block of memory."""
    keys = [(symbol, sha256(object_code).digest()) for symbol, object_code in objects]
    with _lock:
        # Held from here on, so that nothing found is unloaded meanwhile.
        found = {key: code for key in keys if (code := _loaded.get(key)) is not None}
        missing = {key: code for key, (_, code) in zip(keys, objects, strict=True) if key not in found}
        while missing:
            # Objects that define the same name are linked apart.
            group = {key[0]: (key, code) for key, code in missing.items()}
            tracker = _link_group({symbol: code for symbol, (_, code) in group.items()})
            for symbol, (key, _) in group.items():
                found[key] = _loaded[key] = LoadedCode(symbol, tracker)
                del missing[key]
    return tuple(found[key] for key in keys)


def load_all(symbols: tuple[str, ...], object_code: bytes) -> dict[str, LoadedCode]:
    """Link `object_code` once and find several of its functions, by name; otherwise as `load`."""
    digest = sha256(object_code).digest()
    with _lock:
        found = {symbol: _loaded.get((symbol, digest)) for symbol in symbols}
        known = {symbol: code for symbol, code in found.items() if code is not None}
        if len(known) == len(symbols):
            return known
        tracker = _link(symbols, (object_code,))
        linked = {symbol: LoadedCode(symbol, tracker) for symbol in symbols}
        for symbol, code in linked.items():
            _loaded[symbol, digest] = code
        return linked


def _link_group(objects: Mapping[str, bytes]) -> Any:
    """A library of objects that define different names."""
    try:
        return _link(tuple(objects), tuple(objects.values()))
    except LoadError:
        for symbol, object_code in objects.items():  # one by one, so that the error names the one to blame
            _link((symbol,), (object_code,))
        raise


def _link(symbols: tuple[str, ...], objects: tuple[bytes, ...]) -> Any:
    """What gives the addresses of `symbols`, and keeps the code of `objects` loaded."""
    try:
        image = link(objects)
    except ForeignCodeError:
        return _link_by_llvm(symbols, objects)
    except LinkingError as error:
        library = _link_by_llvm(symbols, objects)
        _warn_once(symbols, error)
        return library
    return image if all(symbol in image for symbol in symbols) else _link_by_llvm(symbols, objects)


def _warn_once(symbols: tuple[str, ...], error: LinkingError) -> None:
    global _has_warned
    if not _has_warned:
        _has_warned = True
        text = f"LLVM is loaded to link {symbols[0]!r} and others, since `runtime.linking` cannot: {error}."
        warnings.warn(text, LinkingWarning, stacklevel=5)


def _link_by_llvm(symbols: tuple[str, ...], objects: tuple[bytes, ...]) -> Any:
    global _engine
    import llvmlite.binding as llvm  # here, since most processes need none of it

    names = ", ".join(repr(symbol) for symbol in symbols)
    for object_code in objects:
        if not _is_object_code(object_code):
            raise LoadError(
                f"the code of {names} is no object file for this machine: it begins with {object_code[:8]!r}"
            )
    if _engine is None:
        _engine = llvm.create_lljit_compiler(target_machine(), suppress_errors=True)
    library = llvm.JITLibraryBuilder()
    for object_code in objects:
        library.add_object_img(object_code)
    library.add_current_process()
    for symbol in symbols:
        library.export_symbol(symbol)
    try:
        return library.link(_engine, f"graphcore.{next(_numbers)}")
    except RuntimeError as error:
        raise LoadError(
            f"cannot link {names} ({sum(map(len, objects))} bytes of object code): {str(error).strip()}; "
            "it was made for another machine, or it calls a function that this process does not have"
        ) from error


def _is_object_code(data: bytes) -> bool:
    """LLVM itself gives up on other bytes only after it has printed about them."""
    elf, mach_o, coff_x86_64, coff_arm64 = b"\x7fELF", b"\xcf\xfa\xed\xfe", b"\x64\x86", b"\x64\xaa"
    return data.startswith((elf, mach_o, coff_x86_64, coff_arm64))


def _reinitialise_after_fork() -> None:
    # Another thread of the parent may have held the lock; it does not exist in the child.
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reinitialise_after_fork)
