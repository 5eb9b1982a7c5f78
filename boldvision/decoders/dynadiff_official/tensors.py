"""Tensors of a file that ``torch.save`` wrote, without running anything that the file names.

Such a file is a pickle that names classes and functions, which unpickling imports and calls. Here
none is: tensors, dictionaries, shapes and plain values are made by functions of this module, and
an object of anything else, as of DeepSpeed, is a :class:`Placeholder`.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from boldvision.errors import UserError
from boldvision.files import reading

TYPES = {
    "Double": torch.float64,
    "Float": torch.float32,
    "Half": torch.float16,
    "BFloat16": torch.bfloat16,
    "Long": torch.int64,
    "Int": torch.int32,
    "Short": torch.int16,
    "Char": torch.int8,
    "Byte": torch.uint8,
    "Bool": torch.bool,
}
"""Type of the numbers of ``torch.FloatStorage`` and the like."""

LARGEST_PICKLE = 16 << 20
"""Bytes of all that is no number, in memory some 200 times as many; 1,000 tensors take 0.2 MB."""

LOCAL_HEADER = struct.Struct("<4s22xHH")
"""Before the bytes of a member of a zip file: signature, lengths of its name and of more."""


class Placeholder:
    """An object of a class that a file names, or what a function that it names would return.

    Attributes
    ----------
    origin : str
        The name.
    args : tuple
        What the class or function would have been called with.
    """

    origin = ""

    def __new__(cls, *args: Any, **_: Any) -> Placeholder:
        """Whatever the arguments."""
        made = super().__new__(cls)
        made.args = args
        return made

    args: tuple[Any, ...]

    def __init__(self, *args: Any, **named: Any):
        pass

    def __call__(self, *args: Any, **named: Any) -> Placeholder:
        """Itself: nothing is called."""
        return self

    def __setstate__(self, state: Any) -> None:
        """Nothing is set."""

    def __setitem__(self, key: Any, value: Any) -> None:
        """Nothing is set."""

    def append(self, item: Any) -> None:
        """Nothing is kept."""

    add = extend = append


def read_tensors(path: Path, remedy: str) -> Any:
    """What ``torch.save`` wrote to `path`; tensors are parts of the file, mapped into memory.

    Parameters
    ----------
    path : Path
    remedy : str
        What to do about a file that is damaged.

    Raises
    ------
    UserError
        It is another kind of file, damaged, or not of the byte order of this machine.
    """
    with reading(path, "a file that torch.save wrote", remedy):
        with zipfile.ZipFile(path) as archive, path.open("rb") as file:
            members = {name.partition("/")[2]: name for name in archive.namelist()}
            if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                raise ValueError("compressed content")
            if "data.pkl" not in members:
                raise ValueError("another zip file")
            if "byteorder" in members and archive.read(members["byteorder"]) != b"little":
                raise UserError(f"{path}: expected little-endian numbers, found others; {remedy}")
            text = _pickle(archive, members["data.pkl"])
            places = {
                name.removeprefix("data/"): _place(file, archive.getinfo(member))
                for name, member in members.items()
                if name.startswith("data/")
            }
        return _Unpickler(text, np.memmap(path, np.uint8, mode="c"), places).load()


def _pickle(archive: zipfile.ZipFile, member: str) -> bytes:
    """Its bytes, unless unpickling them would take far more memory than they are long."""
    if archive.getinfo(member).file_size > LARGEST_PICKLE:
        raise ValueError(f"more than {LARGEST_PICKLE} bytes beside its numbers")
    text = archive.read(member)
    for code, place, _ in pickletools.genops(text):
        # The memo is a list with room up to the highest place.
        if code.name.endswith("PUT") and (place or 0) > len(text):
            raise ValueError(f"a pickle of {len(text)} bytes that keeps an object at {place}")
    return text


def _place(file: Any, member: zipfile.ZipInfo) -> slice:
    """Where the bytes of a member are."""
    file.seek(member.header_offset)
    signature, name, more = LOCAL_HEADER.unpack(file.read(LOCAL_HEADER.size))
    if signature != b"PK\3\4":
        raise ValueError("a damaged zip file")
    begin = member.header_offset + LOCAL_HEADER.size + name + more
    return slice(begin, begin + member.file_size)


class _Dictionary(dict):
    """In place of an OrderedDict; its attributes are not kept."""

    def __setstate__(self, state: Any) -> None:
        pass


class _Function:
    """A function that a file may call, and do nothing else with."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]):
        self._function = function

    def __call__(self, *args: Any) -> Any:
        return self._function(*args)

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("a function that is changed")


def _tensor(storage: torch.Tensor, offset: int, size: Any, stride: Any, *_: Any) -> torch.Tensor:
    """In place of ``torch._utils._rebuild_tensor_v2``; out of bounds is an error of torch's."""
    return torch.as_strided(storage, tuple(size), tuple(stride), offset)


KNOWN: dict[str, Any] = {
    "collections.OrderedDict": _Dictionary,
    "torch.Size": _Function(tuple),
    "torch._utils._rebuild_tensor_v2": _Function(_tensor),
    "torch._utils._rebuild_parameter": _Function(lambda tensor, *_: tensor),
}
"""What stands for a name in a file; for every other, a placeholder does."""


class _Unpickler(pickle.Unpickler):
    def __init__(self, text: bytes, content: np.ndarray, places: dict[str, slice]):
        super().__init__(io.BytesIO(text))
        self.content, self.places = content, places

    def find_class(self, module: str, name: str) -> Any:
        """Nothing is imported."""
        origin = f"{module}.{name}"
        return KNOWN.get(origin) or type("Placeholder", (Placeholder,), {"origin": origin})

    def persistent_load(self, place: Any) -> torch.Tensor:
        """The numbers of a storage, as one row."""
        kind, storage, key, _, count = place
        name = storage.origin.removeprefix("torch.").removesuffix("Storage")
        if kind != "storage" or name not in TYPES:
            raise ValueError(f"a storage {storage.origin}")
        part, dtype = self.content[self.places[key]], TYPES[name]
        if len(part) != count * dtype.itemsize or part.ctypes.data % dtype.itemsize:
            raise ValueError(f"storage {key} of {len(part)} bytes for {count} numbers")
        return torch.from_numpy(part).view(dtype)
