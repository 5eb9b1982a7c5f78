"""Arrays of a GIFTI file, none larger than expected and none kept in another file."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Literal
from xml.etree.ElementTree import Element, iterparse

import numpy as np
from isal import isal_zlib

TYPES = {
    "NIFTI_TYPE_UINT8": "u1",
    "NIFTI_TYPE_INT16": "i2",
    "NIFTI_TYPE_INT32": "i4",
    "NIFTI_TYPE_FLOAT32": "f4",
    "NIFTI_TYPE_FLOAT64": "f8",
}
ENDIANS: dict[str, Literal["<", ">"]] = {"LittleEndian": "<", "BigEndian": ">"}


def read_arrays(path: Path, values: int) -> Iterator[np.ndarray]:
    """The arrays of a file, in order, each of so many values.

    nibabel would read a file of the disk that the array names, and decompress without end.

    Raises
    ------
    OSError, ValueError and others
        The file is not GIFTI, is damaged, or has an array of another size: to be called within
        `boldvision.files.reading`.
    """
    depth = 0
    for event, element in iterparse(path, ("start", "end")):
        depth += 1 if event == "start" else -1
        if depth == 1 and event == "start" and element.tag != "GIFTI":
            raise ValueError(f"another format, <{element.tag}>")
        if event == "end" and element.tag == "DataArray":
            yield _array(element, values)
            element.clear()


def _array(element: Element, values: int) -> np.ndarray:
    encoding, order = element.get("Encoding"), ENDIANS[element.get("Endian", "LittleEndian")]
    dtype = np.dtype(TYPES[element.get("DataType", "")]).newbyteorder(order)
    dimensions, length = element.get("Dimensionality", "1"), element.get("Dim0", "0")
    if (int(dimensions), int(length)) != (1, values):
        raise ValueError(f"an array of {dimensions} dimensions and {length} values")
    text = element.findtext("Data", "")
    if encoding == "ASCII":
        array = np.array(text.split(), dtype)
    elif encoding in ("Base64Binary", "GZipBase64Binary"):
        content = base64.b64decode("".join(text.split()), validate=True)
        if encoding == "GZipBase64Binary":
            content = _unpacked(content, values * dtype.itemsize)
        array = np.frombuffer(content, dtype)
    else:
        raise ValueError(f"an array with encoding {encoding}")
    if array.shape != (values,):
        raise ValueError(f"an array of {len(array)} values in place of {values}")
    return array


def _unpacked(content: bytes, size: int) -> bytes:
    """Decompress `size` bytes and verify their checksum."""
    stream = isal_zlib.decompressobj()
    unpacked = stream.decompress(content, size + 1)
    if not stream.eof:
        raise ValueError("compressed values that are too many, or cut")
    return unpacked
