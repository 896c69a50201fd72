"""A pickle reader for plain data: lists, bytes, numbers, byte arrays; nothing in the file is run.

A few bytes of a pickle can announce gigabytes, or a list of lists that takes years to walk. So its instructions are
checked once before they are followed, and each object is walked once however often it is referenced.

NumPy's own reconstruction functions are not called either: the names a pickle uses for them are mapped to
functions of this file, which accept byte-sized items only. That also covers both homes of these names
(`numpy.core` before NumPy 2, `numpy._core` since), whichever NumPy is installed.
"""

import mmap
import pickle
import pickletools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["load_pickle_of", "load_plain_pickle", "load_ruled"]

# A damaged pickle can fail in as many ways as it has instructions.
_FAILURES = (
    pickle.UnpicklingError, EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError,
    RecursionError, ImportError,
)  # fmt: skip
_LONGEST = 300  # of a reason, which may quote the file
_MEMO = ("PUT", "BINPUT", "LONG_BINPUT")
# Plain data has none; and to look up a tuple of tuples of tuples, each named twice, may take for ever.
_MAPS = frozenset(("EMPTY_DICT", "DICT", "SETITEM", "SETITEMS", "EMPTY_SET", "ADDITEMS", "FROZENSET"))

# Byte-sized item types, as Python 2 (bytes) and 3 (str) spell them.
_DTYPES = {"u1": np.uint8, "b1": np.bool_}


def load_plain_pickle(path: Path) -> Any:
    """Load nested lists and tuples of numbers, bytes, strings and uint8 or bool arrays.

    Written by Python 2 or 3; strings of Python 2 come back as bytes.

    Raises:
        ValueError: if the file is no pickle, was cut short, announces more than it holds, or names another type.
    """
    if not path.stat().st_size:
        raise ValueError(f"{path}: not readable as plain data: the file is empty")
    # Mapped: a read of more than there is gets what there is, where a file would first make room for all of it.
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as source:
        try:
            if not _MAPS.isdisjoint(_instructions(source)):
                raise ValueError(
                    "it holds a dict or a set, which plain data does not need; do not trust this file"
                )
            source.seek(0)
            return _plain(_PlainUnpickler(source, encoding="bytes").load(), {})
        except _FAILURES as error:
            reason = str(error) if isinstance(error, (ValueError, pickle.UnpicklingError)) else repr(error)
            raise ValueError(f"{path}: not readable as plain data: {reason[:_LONGEST]}") from error


def load_pickle_of(path: Path, look_up: Callable[[str, str], Any]) -> Any:
    """`load_ruled` for a file."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as source:
        return load_ruled(source, look_up)


def load_ruled(
    source: Any, look_up: Callable[[str, str], Any], outside: Callable[[Any], Any] | None = None
) -> Any:
    """Load a pickle in which every name is replaced by what a rule gives for it.

    Args:
        source: a binary stream that can be read twice.
        look_up: gives the replacement for (module, name), or None to refuse the file.
        outside: gives the replacement for a persistent id, which refers to data beside the pickle; None refuses it.

    Raises:
        ValueError: if the file announces more than it holds.
        pickle.UnpicklingError: for a name that is refused; a damaged pickle can fail in other ways too.
    """
    for _ in _instructions(source):
        pass
    source.seek(0)
    return _RuledUnpickler(source, look_up, outside).load()


def _instructions(source: Any) -> Iterator[str]:
    """Names of a pickle's instructions, which are read and not followed; ValueError if a length or place is forged."""
    frame_end = 0
    for count, (instruction, argument, place) in enumerate(pickletools.genops(source)):
        if instruction.name in _MEMO and (argument or 0) > count:
            raise ValueError(f"it uses place {argument} of the memo after {count} instructions")
        # Python's unpickler loses its place there, and takes anything for a length.
        is_inside, begins = (place or 0) < frame_end, instruction.name == "FRAME"
        if (is_inside and begins) or (not is_inside and frame_end and place != frame_end):
            raise ValueError(f"an instruction crosses the end of a frame at {frame_end}")
        if begins:
            frame_end = (place or 0) + 9 + (argument or 0)
        elif not is_inside:
            frame_end = 0
        yield instruction.name


class _Array:
    """An array under construction: unpickling makes it empty, then hands it its state."""

    value: NDArray[Any] | None = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, is_fortran, data = state
        self.value = _frombuffer(data, dtype, shape, "F" if is_fortran else "C")


class _Dtype:
    """A byte-sized item type; its state (byte order, alignment) says nothing for one byte."""

    def __init__(self, type_: type[np.generic]) -> None:
        self.type = type_

    def __setstate__(self, state: object) -> None:
        pass


def _reconstruct(*subtype_shape_code: object) -> _Array:
    return _Array()


def _dtype(code: str | bytes, align: object = False, copy: object = True) -> _Dtype:
    name = code.decode("latin-1") if isinstance(code, bytes) else code
    if name.lstrip("|") not in _DTYPES:
        raise pickle.UnpicklingError(f"array of type {name!r}, expected uint8 or bool")
    return _Dtype(_DTYPES[name.lstrip("|")])


def _scalar(dtype: _Dtype, data: bytes) -> int:
    return int(np.frombuffer(data, dtype.type, count=1)[0])


def _frombuffer(data: bytes | bytearray, dtype: _Dtype, shape: tuple[int, ...], order: str) -> NDArray[Any]:
    return np.frombuffer(bytes(data), dtype.type).reshape(shape, order="F" if order == "F" else "C")


def _encode(text: str, encoding: str | bytes = "latin1") -> bytes:
    # Python 3 writes bytes so in protocols 0 to 2.
    if encoding not in ("latin1", b"latin1"):
        shown = repr(encoding) if isinstance(encoding, str) else type(encoding).__name__
        raise pickle.UnpicklingError(f"text in encoding {shown}, expected latin1")
    return text.encode("latin1")


def _bytes(text: str | bytes = b"", encoding: str = "latin-1") -> bytes:
    return text.encode("latin-1") if isinstance(text, str) else bytes(memoryview(text))


# Where Python 2 and 3, and NumPy before 2 and since, keep the same things.
_BUILTINS = ("builtins", "__builtin__")
_NUMPY_CORES = ("numpy.core", "numpy._core")

_ALLOWED: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "ndarray"): _reconstruct,  # never called: handed to _reconstruct as its first argument
    ("numpy", "dtype"): _dtype,
    ("_codecs", "encode"): _encode,
    **{(home, name): _bytes for home in _BUILTINS for name in ("bytes", "bytearray")},
    **{(f"{home}.multiarray", "_reconstruct"): _reconstruct for home in _NUMPY_CORES},
    **{(f"{home}.multiarray", "scalar"): _scalar for home in _NUMPY_CORES},
    **{(f"{home}.numeric", "_frombuffer"): _frombuffer for home in _NUMPY_CORES},
}


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        function = _ALLOWED.get((module, name))
        if function is None:
            raise pickle.UnpicklingError(
                f"it asks for {module}.{name}, which plain data does not need; do not trust this file"
            )
        # Wrapped anew each time: a pickle can set attributes (__defaults__ ...) on whatever it is given.
        return lambda *arguments: function(*arguments)


class _RuledUnpickler(pickle.Unpickler):
    def __init__(
        self, source: Any, look_up: Callable[[str, str], Any], outside: Callable[[Any], Any] | None
    ) -> None:
        super().__init__(source)
        self._look_up, self._outside = look_up, outside

    def find_class(self, module: str, name: str) -> Any:
        found = self._look_up(module, name)
        if found is None:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no such file needs")
        return found

    def persistent_load(self, pid: Any) -> Any:
        if self._outside is None:
            raise pickle.UnpicklingError("it asks for something beside it, which no such file needs")
        return self._outside(pid)


def _plain(value: Any, known: dict[int, Any]) -> Any:
    """Replace arrays under construction by arrays, and bytearrays by bytes, in nested lists and tuples.

    `known` holds the result for each list and tuple by id, None while it is being built: a list may hold itself.
    """
    if isinstance(value, _Array):
        if value.value is None:
            raise ValueError("an array without contents")
        return value.value
    if isinstance(value, bytearray):
        return bytes(value)
    if isinstance(value, (list, tuple)):
        if id(value) not in known:
            known[id(value)] = None
            known[id(value)] = type(value)(_plain(item, known) for item in value)
        if known[id(value)] is None:
            raise ValueError("a list that holds itself")
        return known[id(value)]
    return value
