"""Safetensors files, written one tensor at a time and read in place.

The format (https://github.com/huggingface/safetensors#format): 8 bytes with the header's length,
a JSON header with each tensor's type, shape and place, then the bytes. The library's own writer
needs every tensor on the CPU at once; this one copies at most one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from jepa.core.errors import CheckpointError, did_you_mean
from jepa.core.files import write_hashed

_NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint64: "U64",
    torch.uint32: "U32",
    torch.uint16: "U16",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """Write a new safetensors file and put it on the disk.

    Tensors on a device, or not contiguous, are copied one by one; others not at all.

    Args:
        path: of the file, which must not exist.
        tensors: by name, of any shape.
        metadata: texts that travel in the header.

    Returns:
        The file's SHA-256 as hex digits.

    Raises:
        CheckpointError: a tensor has a type or a name that the format lacks.
        OSError: the file may be half-written.
    """

    def chunks() -> Iterator[bytes | memoryview]:
        yield _header(tensors, metadata)
        for name in _order(tensors):
            yield _content(tensors[name])

    return write_hashed(path, chunks())


def file_size(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> int:
    """Bytes of the file that `write_tensors` would write."""
    return len(_header(tensors, metadata)) + sum(t.nbytes for t in tensors.values())


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Every tensor of a safetensors file, on the CPU.

    Raises:
        CheckpointError: the file is missing or damaged.
    """
    with _open(path) as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)


def load_into(path: Path, named: Mapping[str, Tensor]) -> None:
    """Copy a file's tensors into existing ones, in place and one at a time.

    Args:
        path: of a safetensors file.
        named: where each tensor goes; exactly the file's names, shapes and types.

    Raises:
        CheckpointError: the file is missing or damaged, or differs from `named`; it lists every
            difference, and nothing was copied.
    """
    with _open(path) as file:
        faults = _mismatches(file, named)
        if faults:
            listed = "\n".join(f"  {fault}" for fault in faults)
            raise CheckpointError(f"{path} does not fit the model:\n{listed}")
        with torch.no_grad():
            for name, tensor in named.items():
                tensor.copy_(file.get_tensor(name))


def _mismatches(file: Any, named: Mapping[str, Tensor]) -> list[str]:
    stored = set(file.keys())
    faults = [
        f"{name}: missing in the file{did_you_mean(name, stored - named.keys())}"
        for name in sorted(named.keys() - stored)
    ]
    faults += [
        f"{name}: unexpected, the model has no such tensor" for name in stored - named.keys()
    ]
    for name in named.keys() & stored:
        found = file.get_slice(name)
        shape, expected_shape = list(found.get_shape()), list(named[name].shape)
        dtype, expected_dtype = found.get_dtype(), _NAMES.get(named[name].dtype)
        if shape != expected_shape:
            faults.append(f"{name}: found shape {shape}, allowed: {expected_shape}")
        if dtype != expected_dtype:
            faults.append(f"{name}: found type {dtype}, allowed: {expected_dtype}")
    return sorted(faults)


@contextmanager
def _open(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            yield file
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error


def _order(tensors: Mapping[str, Tensor]) -> list[str]:
    """Wide types first, so that every tensor is aligned when the file is mapped to memory."""
    return sorted(tensors, key=lambda name: (-tensors[name].itemsize, name))


def _header(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    _check_storable(tensors)
    entries: dict[str, Any] = {"__metadata__": dict(metadata)}
    begin = 0
    for name in _order(tensors):
        tensor = tensors[name]
        end = begin + tensor.nbytes
        entries[name] = {
            "dtype": _NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [begin, end],
        }
        begin = end
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _check_storable(tensors: Mapping[str, Tensor]) -> None:
    faults = [
        f"{name}: found type {tensor.dtype}, allowed: {', '.join(_NAMES.values())}"
        for name, tensor in tensors.items()
        if tensor.dtype not in _NAMES
    ]
    faults += [
        f"{name}: holds no numbers (meta or sparse)"
        for name, tensor in tensors.items()
        if tensor.is_meta or tensor.layout is not torch.strided
    ]
    if "__metadata__" in tensors:
        faults.append("__metadata__: the format keeps this name for itself")
    if faults:
        raise CheckpointError("these tensors cannot be stored: " + "; ".join(faults))


def _content(tensor: Tensor) -> memoryview:
    """The bytes of one tensor in C order, copied only where they do not lie so already."""
    if tensor.device.type != "cpu" or not tensor.is_contiguous():
        tensor = torch.empty(tensor.shape, dtype=tensor.dtype).copy_(tensor.detach())
    # Not `flatten`: a contiguous tensor of one number or none may have any stride.
    flat = tensor.detach().as_strided((tensor.numel(),), (1,))
    return flat.view(torch.uint8).numpy().data
