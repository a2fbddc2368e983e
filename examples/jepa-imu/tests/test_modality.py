"""`imu` keeps the promises of its kind, and what it says of series is true."""

from __future__ import annotations

import io
from pathlib import Path

import attrs
import numpy as np
import pytest
import torch

from jepa.core import DataError, DecodeError, FieldError, Item, SampleRng, Source, Stretch
from jepa.testing import conformance
from jepa_imu.modality import ImuModality
from jepa_imu.signal import read_series

C, T = 3, 60


def series(n: int, pitch: float = 3.0) -> np.ndarray:
    """Three waves [n, 3] that stand apart, as from a sensor at 20 values a second."""
    t = np.arange(n)[:, None] / 20
    return np.sin(2 * np.pi * pitch * t + np.arange(C)) + np.array([0.0, 5.0, -1.0])


def modality(**settings: object) -> ImuModality:
    config = ImuModality.Config(channels=C, rate=20.0, duration=3.0)
    return ImuModality(attrs.evolve(config, **settings))


SMALL = ["model.dim=16", "model.encoder={name: vit, depth: 4, heads: 2}"]
SMALL += ["model.predictor={name: vit, depth: 1, dim: 16, heads: 2}"]
CONTENTS = [series(200), series(90, 2.0), series(61, 1.0), series(40, 4.0).astype(np.float16)]


@conformance(
    "modality",
    ImuModality,
    settings={"channels": C, "rate": 20.0, "duration": 3.0},
    contents=CONTENTS,
    overrides=SMALL,
)
def test_it_keeps_its_promises(check):
    check()


class Listed(Source):
    """Samples of a list."""

    @attrs.frozen(kw_only=True)
    class Config:
        """Nothing to set."""

    classes = ()

    def __init__(self, contents: list) -> None:
        self.contents = contents

    def __len__(self) -> int:
        return len(self.contents)

    def item(self, index: int) -> Item:
        return Item(self.contents[index], str(index))

    def labels(self) -> None:
        return None

    def fingerprint(self) -> str:
        return "listed"


# --- what is read -----------------------------------------------------------------------------


def test_time_comes_first_in_a_file_and_last_in_an_input():
    values = series(T)
    found = modality().eval_input(values)
    assert found.shape == (C, T)
    assert found.dtype == torch.float32
    assert np.array_equal(found.numpy(), values.T.astype(np.float32))


def test_files_and_bytes_hold_what_arrays_do(tmp_path):
    values = series(80)
    np.save(tmp_path / "a.npy", values)
    np.savez(tmp_path / "b.npz", anything=values)
    wanted = modality().eval_input(values)
    for content in (tmp_path / "a.npy", tmp_path / "b.npz", (tmp_path / "a.npy").read_bytes()):
        assert torch.equal(modality().eval_input(content), wanted)


def test_one_channel_may_come_as_a_row():
    found = modality(channels=1).eval_input(np.arange(60.0))
    assert found.tolist() == [list(map(float, range(60)))]


def test_of_a_long_file_the_piece_alone_is_read(tmp_path):
    np.save(tmp_path / "long.npy", series(5000))
    found = read_series(tmp_path / "long.npy", C)
    assert isinstance(found, np.memmap)
    assert torch.equal(
        modality().eval_input(tmp_path / "long.npy"), modality().eval_input(series(5000))
    )
    both = [Stretch(content, 0.9, 0.3) for content in (tmp_path / "long.npy", series(5000))]
    assert torch.equal(modality().eval_input(both[0]), modality().eval_input(both[1]))


def test_a_gap_spoils_the_pieces_that_hold_it_alone():
    values = series(300)
    values[:20] = np.nan
    modality().eval_input(values)
    with pytest.raises(DecodeError, match="NaN"):
        modality().eval_input(values[:70])


def damaged() -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, a=np.arange(1500.0).reshape(500, 3))
    return file.getvalue()[:200] + b"\xff" * 300 + file.getvalue()[500:]


def pickled() -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    return file.getvalue()


def two_arrays() -> bytes:
    file = io.BytesIO()
    np.savez(file, a=series(9), b=series(9))
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (series(60).T, r"found an array of shape \[3, 60\], allowed: \[n, 3\]"),
        (series(0), r"shape \[0, 3\]"),
        (series(60)[None], r"shape \[1, 60, 3\]"),
        (np.full((60, 3), "x"), "found an array of <U1, allowed: numbers"),
        (np.where(series(60) > 0.9, np.nan, 0.0), "infinite values or NaN"),
        (Path("/no/such.npy"), "no array can be read"),
        (damaged(), "no array can be read"),
        (pickled(), "no array can be read"),
        (two_arrays(), "no array can be read"),
    ],
    ids=["turned", "empty", "three axes", "text", "nan", "absent", "damaged", "pickled", "two"],
)
def test_what_is_no_series_is_refused(content, said):
    with pytest.raises(DecodeError, match=said):
        modality().eval_input(content)


# --- what is cut ------------------------------------------------------------------------------


def test_evaluation_takes_the_middle():
    values = series(100)
    assert np.allclose(modality().eval_input(values).numpy(), values[20:80].T)


def test_training_begins_everywhere_alike():
    values = np.arange(64.0)[:, None].repeat(C, axis=1)
    starts = [
        int(modality().train_input(values, SampleRng(0, 0, index))[0, 0]) for index in range(2000)
    ]
    counts = np.bincount(starts, minlength=5)
    assert len(counts) == 5
    assert abs(counts - 400).max() < 5 * (2000 * 0.2 * 0.8) ** 0.5


def test_a_short_series_is_repeated():
    found = modality().eval_input(series(25)).numpy()
    # 75 values, of which the middle 60 are taken.
    assert np.allclose(found, np.tile(series(25), (3, 1))[8:68].T)


def test_a_stretch_is_a_part_and_may_run_backwards():
    values = series(120)
    found = modality().eval_input(Stretch(values, 0.5, 1.0)).numpy()
    assert np.allclose(found, values[60:].T)
    found = modality().eval_input(Stretch(values, 1.0, 0.5)).numpy()
    assert np.allclose(found, values[:59:-1].T)


# --- what is measured, and what is seen -------------------------------------------------------


def test_channels_are_measured_apart():
    contents = [series(200), b"junk", series(100, 1.0) * [1.0, 2.0, 0.0]]
    fitted = ImuModality.fit(modality().config, Listed(contents))
    # Sines of whole periods around 0, 5 and -1; and around 0, 10 and 0.
    assert np.allclose(fitted.mean, [0.0, 7.5, -0.5], atol=1e-3)
    assert np.allclose(fitted.std, [0.5**0.5, (1.25 + 6.25) ** 0.5, 0.5**0.5], atol=2e-3)
    seen = ImuModality(fitted).device_transform()(
        torch.stack([modality().eval_input(contents[place]) for place in (0, 2)])
    )
    assert seen.mean(dim=(0, 2)).abs().max() < 0.05
    assert (seen.std(dim=(0, 2)) - 1).abs().max() < 0.05


def test_few_series_are_measured_at_many_places():
    """A series that moves at its end alone, of which the middle says nothing."""
    values = np.zeros((6000, C))
    values[4500:] = np.random.default_rng(0).normal(size=(1500, C))
    fitted = ImuModality.fit(modality().config, Listed([values]))
    assert np.allclose(fitted.std, 0.5, rtol=0.1)


@pytest.mark.parametrize("centre", [False, True])
@pytest.mark.parametrize("constant", [0.0, 0.1, 9.80665, -1e5])
def test_what_is_given_is_kept_and_a_dead_channel_divides_by_one(centre, constant):
    """Sums of 0.1 or 9.80665 are rounded, so a dead channel has a deviation above 0."""
    config = attrs.evolve(modality().config, mean=(1.0, 2.0, 3.0), centre=centre)
    contents = [np.full((100, C), constant), np.full((150, C), constant)]
    fitted = ImuModality.fit(config, Listed(contents))
    assert (fitted.mean, fitted.std) == ((1.0, 2.0, 3.0), (1.0, 1.0, 1.0))


@pytest.mark.parametrize("offset", [0.0, 101_325.0])
def test_small_movements_around_a_large_mean_are_seen(offset):
    values = offset + 50 * series(200)
    config = modality().config
    fitted = ImuModality(ImuModality.fit(config, Listed([values])))
    seen = fitted.device_transform()(fitted.eval_input(values)[None])
    assert seen.mean(dim=2).abs().max() < 0.01
    assert (seen.std(dim=2) - 1).abs().max() < 0.05


def test_nothing_to_measure():
    with pytest.raises(DataError, match="none of 2 series can be decoded"):
        ImuModality.fit(modality().config, Listed([b"junk", series(4).T]))


def test_how_the_sensor_lies_is_seen():
    """The mean of an input is not taken out."""
    prepare = modality(mean=(0.0,) * C, std=(1.0,) * C).device_transform()
    values = torch.zeros(1, C, T)
    assert (prepare(values + 2) - prepare(values)).min() == 2


def test_centred_inputs_show_movement_alone():
    config = attrs.evolve(modality().config, centre=True)
    contents = [series(200), series(200) + 7.0]
    fitted = ImuModality.fit(config, Listed(contents))
    assert np.allclose(fitted.std, series(200).std(axis=0), rtol=1e-3)
    centred = ImuModality(fitted)
    inputs = torch.stack([centred.eval_input(content) for content in contents])
    seen = centred.device_transform()(inputs)
    assert torch.allclose(seen[0], seen[1], atol=1e-5)
    assert (seen.std(dim=2) - 1).abs().max() < 0.1


def test_drift_is_no_movement_where_inputs_are_centred():
    drifting = series(2000) + np.linspace(0, 500, 2000)[:, None]
    fitted = ImuModality(ImuModality.fit(modality(centre=True).config, Listed([drifting])))
    seen = fitted.device_transform()(fitted.eval_input(drifting)[None])
    assert (seen.std(dim=2) - 1).abs().max() < 0.1


def test_the_baseline_hears_the_pitch():
    waves = [modality().eval_input(series(T, pitch)) for pitch in (1.0, 4.0)]
    found = modality().baseline(torch.stack(waves)).view(2, C, -1)
    assert found.shape[2] == 2 + 30
    assert torch.allclose(found[:, :, 0], torch.tensor([[0.0, 5.0, -1.0]]), atol=1e-5)
    assert torch.allclose(found[:, :, 1], torch.tensor(0.5**0.5), atol=1e-4)
    # Frequencies are a third of a hertz apart in three seconds.
    assert (found[:, :, 2:].argmax(dim=2) == torch.tensor([[2], [11]])).all()


def test_a_picture_has_a_curve_a_channel():
    values = torch.zeros(1, C, T)
    values[0, 1, 30:] = 4.0
    picture = modality(mean=(0.0,) * C, std=(1.0,) * C).preview(values)[0]
    assert picture.shape == (33 * C, T, 3)
    dark = (picture.min(dim=2).values < 130).view(C, 33, T)
    assert dark[0].nonzero().tolist() == [[16, t] for t in range(T)]
    assert dark[1, 0, 30:].all()
    assert dark[1, :17, 29].all(), "a jump has no gap"
    assert not dark[1, 17:].any()


# --- settings ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"mean": (0.0, 1.0)}, "mean: found 2 numbers, allowed: one for each of 3 channels"),
        ({"std": (1.0, 1.0, 0.0)}, "above 0"),
        ({"duration": 0.05}, "duration: found 0.05, which .* are 1 values; allowed: 2 or more"),
        ({"channels": 0}, "above 0"),
    ],
)
def test_settings_that_cannot_be(settings, said):
    with pytest.raises(FieldError, match=said):
        modality(**settings)
