"""
Compiled loops, where a C compiler was there when Sanad was installed.

`library()` gives the compiled functions, or None: then each caller runs its reference in Python, which gives the same
bits and takes longer. `describe()` says which of the two runs.
"""

import ctypes
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

VERSION: Final = 13
"""
The version of the sources: a library of others, which may decide by older rules, is not used. `make` builds again when
a source changed.
"""

SOURCES: Final = tuple(
    Path(__file__).with_name(name)
    for name in ("native.c", "slots.c", "ranking.c", "affinity.c", "packing.c", "order.c", "history.c")
)


def open_library(path: Path) -> ctypes.CDLL | None:
    """The functions of a file; None when it is no library of these sources."""
    try:
        found = ctypes.CDLL(str(path))
        return found if found.kernels_version() == VERSION else None
    except (OSError, AttributeError):
        return None


@cache
def library() -> ctypes.CDLL | None:
    """The compiled functions of this installation; None where there are none."""
    files = [SOURCES[0].with_suffix(suffix) for suffix in EXTENSION_SUFFIXES]
    return next((found for path in files if path.is_file() and (found := open_library(path))), None)


def describe() -> str:
    """Which loops run: `compiled`, or `Python`."""
    return "Python" if library() is None else "compiled"


_memory_of: Final = cast("Callable[[object], ctypes.c_char]", ctypes.c_char.from_buffer)


def address(array: "NDArray[Any]") -> ctypes.c_void_p:
    """Where the numbers of a contiguous array begin."""
    try:
        return ctypes.c_void_p(ctypes.addressof(_memory_of(array)))  # a sixth of the time
    except (TypeError, ValueError):  # an array that may not be written, or has no numbers
        return ctypes.c_void_p(array.__array_interface__["data"][0])
