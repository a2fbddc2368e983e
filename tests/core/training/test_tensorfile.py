import hashlib
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from jepa.core.errors import CheckpointError
from jepa.core.training.tensorfile import file_size, load_into, read_tensors, write_tensors

DTYPES = [
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn,
    torch.float8_e5m2, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint64,
    torch.uint32, torch.uint16, torch.uint8, torch.bool,
]  # fmt: skip


def raw(tensor: Tensor) -> bytes:
    plain = torch.empty(tensor.shape, dtype=tensor.dtype).copy_(tensor)
    return plain.flatten().view(torch.uint8).numpy().tobytes()


def equal(left: Tensor, right: Tensor) -> bool:
    """Bit for bit: NaNs and minus zeros count."""
    return left.dtype == right.dtype and left.shape == right.shape and raw(left) == raw(right)


def filled(dtype: torch.dtype, shape: list[int], seed: int) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    count = torch.Size(shape).numel() * dtype.itemsize
    content = torch.randint(0, 2 if dtype == torch.bool else 256, (count,), generator=draw)
    return content.to(torch.uint8).view(dtype).view(shape)


@st.composite
def tensors(draw: st.DrawFn) -> Tensor:
    shape = draw(st.lists(st.integers(0, 4), max_size=4))
    tensor = filled(draw(st.sampled_from(DTYPES)), shape, draw(st.integers(0, 2**32)))
    kind = draw(st.sampled_from(["plain", "permuted", "strided"]))
    if kind == "permuted":
        return tensor.permute(draw(st.permutations(range(tensor.ndim))))
    if kind == "strided" and tensor.ndim > 0:
        return tensor[..., ::2]
    return tensor


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
names = texts.filter(lambda name: name != "__metadata__")


@settings(max_examples=100, deadline=None)
@given(named=st.dictionaries(names, tensors(), max_size=6), meta=st.dictionaries(texts, texts))
def test_the_library_reads_what_we_write(
    tmp_path_factory: pytest.TempPathFactory, named: dict[str, Tensor], meta: dict[str, str]
) -> None:
    path = tmp_path_factory.mktemp("tensors") / "ours.safetensors"
    digest = write_tensors(path, named, meta)
    content = path.read_bytes()
    assert digest == hashlib.sha256(content).hexdigest()
    assert len(content) == file_size(named, meta)
    for loaded in (load_file(path), read_tensors(path)):
        assert loaded.keys() == named.keys()
        assert all(equal(loaded[name], named[name]) for name in named)
    with safe_open(path, "pt") as file:
        assert (file.metadata() or {}) == meta
    targets = {name: torch.zeros_like(tensor) for name, tensor in named.items()}
    load_into(path, targets)
    assert all(equal(targets[name], named[name]) for name in named)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [[], [0], [0, 3], [5], [2, 3, 4]], ids=str)
def test_every_type_goes_both_ways(tmp_path: Path, dtype: torch.dtype, shape: list[int]) -> None:
    tensor = filled(dtype, shape, seed=1)
    write_tensors(tmp_path / "ours", {"x": tensor}, {})
    assert equal(load_file(tmp_path / "ours")["x"], tensor)
    save_file({"x": tensor}, tmp_path / "theirs")
    assert equal(read_tensors(tmp_path / "theirs")["x"], tensor)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_tensors_on_a_device_go_both_ways(tmp_path: Path) -> None:
    weight = torch.randn(64, 32, device="cuda")
    write_tensors(tmp_path / "x", {"w": weight, "t": weight.t().bfloat16()}, {})
    assert equal(load_file(tmp_path / "x")["w"], weight.cpu())
    target = torch.zeros_like(weight)
    half = torch.zeros(32, 64, device="cuda", dtype=torch.bfloat16)
    load_into(tmp_path / "x", {"w": target, "t": half})
    assert torch.equal(target, weight)
    assert torch.equal(half, weight.t().bfloat16())


def test_contiguous_tensors_with_odd_strides_are_stored(tmp_path: Path) -> None:
    one, none = torch.arange(2.0)[::2], torch.zeros(0)[::2]
    assert one.is_contiguous()
    assert one.stride() == (2,)
    offset = torch.arange(5.0)[3:]
    write_tensors(tmp_path / "x", {"one": one, "none": none, "offset": offset}, {})
    loaded = load_file(tmp_path / "x")
    assert loaded["one"].tolist() == [0.0]
    assert loaded["none"].shape == (0,)
    assert loaded["offset"].tolist() == [3.0, 4.0]


def test_tied_and_trained_parameters_are_stored(tmp_path: Path) -> None:
    weight = torch.nn.Parameter(torch.randn(3, 2))
    write_tensors(tmp_path / "x", {"head": weight, "embed": weight, "t": weight.t()}, {})
    loaded = load_file(tmp_path / "x")
    assert equal(loaded["head"], weight.detach())
    assert equal(loaded["embed"], weight.detach())
    assert equal(loaded["t"], weight.detach().t())


def test_load_into_fills_parameters_in_place(tmp_path: Path) -> None:
    write_tensors(tmp_path / "x", {"w": torch.ones(2, 3)}, {})
    weight = torch.nn.Parameter(torch.zeros(3, 2))
    place = weight.data_ptr()
    load_into(tmp_path / "x", {"w": weight.t()})
    assert weight.data_ptr() == place
    assert weight.requires_grad
    assert torch.equal(weight, torch.ones(3, 2))


def test_load_into_lists_every_difference_and_copies_nothing(tmp_path: Path) -> None:
    stored = {
        "same": torch.ones(2),
        "shape": torch.ones(2, 3),
        "dtype": torch.ones(2),
        "mor": torch.ones(1),
    }
    write_tensors(tmp_path / "x", stored, {})
    named = {
        "same": torch.zeros(2),
        "shape": torch.zeros(3, 2),
        "dtype": torch.zeros(2, dtype=torch.bfloat16),
        "more": torch.zeros(1),
    }
    with pytest.raises(CheckpointError) as caught:
        load_into(tmp_path / "x", named)
    assert str(caught.value).splitlines()[1:] == [
        "  dtype: found type F32, allowed: BF16",
        "  mor: unexpected, the model has no such tensor",
        "  more: missing in the file; did you mean 'mor'?",
        "  shape: found shape [2, 3], allowed: [3, 2]",
    ]
    assert not named["same"].any()


@pytest.mark.parametrize("content", [b"", b"short", b"\xff" * 64, None])
def test_a_damaged_or_missing_file_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "x.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"x\.safetensors cannot be read"):
        read_tensors(path)
    with pytest.raises(CheckpointError, match=r"x\.safetensors cannot be read"):
        load_into(path, {})


@pytest.mark.parametrize(
    ("name", "tensor", "said"),
    [
        ("w", torch.ones(2, dtype=torch.complex64), r"w: found type torch\.complex64"),
        ("w", torch.ones(2, device="meta"), "w: holds no numbers"),
        ("w", torch.ones(2, 2).to_sparse(), "w: holds no numbers"),
        ("__metadata__", torch.ones(2), "keeps this name"),
    ],
)
def test_what_the_format_lacks_is_refused(
    tmp_path: Path, name: str, tensor: Tensor, said: str
) -> None:
    with pytest.raises(CheckpointError, match=said):
        write_tensors(tmp_path / "x", {name: tensor}, {})
