"""The modality of films: clips, crops, flips, what the device sees, pictures, raw features."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from films import HEIGHT, WIDTH, film, folder, numbers, write
from scipy import stats

from jepa.core.errors import ConfigError, DecodeError
from jepa.core.modality import Stretch
from jepa.core.rng import SampleRng
from jepa.core.settings import structure
from jepa.modalities.video import VideoModality
from jepa.modalities.video import container as container_module
from jepa.modalities.video.modality import central_box
from jepa.testing import conformance

av = pytest.importorskip("av", reason="needs PyAV: the extra `video`")

WHOLE = {
    "size": (HEIGHT, WIDTH),
    "crop_scale": (1.0, 1.0),
    "crop_ratio": (WIDTH / HEIGHT, WIDTH / HEIGHT),
    "eval_crop": 1.0,
    "flip": False,
}
"""Settings under which a clip shows whole frames."""


def modality(frames=4, stride=3, **more):
    return VideoModality(VideoModality.Config(frames=frames, stride=stride, **{**WHOLE, **more}))


def trained(made, content, index=0, epoch=0, seed=0):
    return made.train_input(content, SampleRng(seed, epoch, index))


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A film of 60 frames at 10 a second."""
    path = tmp_path_factory.mktemp("films") / "a.mp4"
    return write(path, film(60), options={"g": "20"})


@pytest.mark.parametrize("kind", ["file", "bytes", "array", "folder"])
def test_clips_hold_the_frames_picked(file, tmp_path, kind):
    content = {"file": file, "bytes": file.read_bytes(), "array": film(60)}.get(kind)
    if content is None:
        content = folder(tmp_path / "clip", film(60), "png")
    made = modality()
    clip = made.eval_input(content)
    assert clip.shape == (3, 4, HEIGHT, WIDTH) == made.spec.loaded
    assert clip.dtype == torch.uint8
    assert numbers(clip) == [25, 28, 31, 34]
    begin = numbers(trained(made, content))[0]
    assert numbers(trained(made, content)) == [begin, begin + 3, begin + 6, begin + 9]


def test_arrays_come_through_bit_for_bit():
    array = np.random.default_rng(0).integers(0, 256, (4, HEIGHT, WIDTH, 3), dtype=np.uint8)
    wanted = torch.from_numpy(array).permute(3, 0, 1, 2)
    assert torch.equal(modality(stride=1).eval_input(array), wanted)
    assert torch.equal(trained(modality(stride=1), array), wanted)
    assert torch.equal(modality(stride=1, flip=False).eval_input(array[:, ::-1]), wanted.flip(2))


def test_beginnings_are_uniform_and_a_function_of_the_place(file):
    made, array = modality(), film(20)
    begins = [numbers(trained(made, array, index))[0] for index in range(1100)]
    counts = np.bincount(begins, minlength=11)
    assert len(counts) == 11
    assert stats.chisquare(counts).pvalue > 0.01
    assert begins[:50] == [numbers(trained(made, array, index))[0] for index in range(50)]
    for other in ({"epoch": 1}, {"seed": 1}):
        assert begins[:50] != [
            numbers(trained(made, array, index, **other))[0] for index in range(50)
        ]


def test_by_time_whatever_the_rate(tmp_path):
    """The same two seconds at 10 and at 30 frames a second."""
    slow = write(tmp_path / "slow.mp4", film(20), rate=10)
    fast = write(tmp_path / "fast.mkv", film(60), rate=30)
    made = modality(frames=5, stride=2, fps=10.0)  # every 0.2 s
    assert np.diff(numbers(made.eval_input(slow))).tolist() == [2] * 4
    assert np.diff(numbers(made.eval_input(fast))).tolist() == [6] * 4
    frames = np.diff(numbers(modality(frames=5, stride=2).eval_input(fast)))
    assert frames.tolist() == [2] * 4
    array = modality(frames=5, stride=2, fps=10.0, array_fps=30.0).eval_input(film(60))
    assert np.diff(numbers(array)).tolist() == [6] * 4
    plain = modality(frames=5, stride=2, fps=10.0).eval_input(film(60))
    assert np.diff(numbers(plain)).tolist() == [2] * 4


def test_uneven_films_give_even_clips(tmp_path):
    """Frames 0 to 19 come at 10 a second, the others at 20."""
    stamps = [*range(0, 40, 2), *range(40, 100)]
    path = write(tmp_path / "a.mkv", film(80), rate=20, stamps=stamps)
    found = numbers(modality(frames=8, stride=4, fps=10.0).eval_input(path))
    times = np.array(stamps)[found] / 20
    assert np.allclose(np.diff(times), 0.4)
    assert found[0] < 20 < found[-1]


def test_short_films(file, tmp_path):
    short = write(tmp_path / "short.mp4", film(5))
    assert numbers(modality().eval_input(short)) == [0, 3, 4, 4]
    assert numbers(modality(short="loop").eval_input(short)) == [0, 3, 1, 4]
    still = write(tmp_path / "still.gif", film(1))
    assert numbers(modality(fps=10.0).eval_input(still)) == [0, 0, 0, 0]


def test_parts_and_both_directions(file):
    made = modality()
    assert numbers(made.eval_input(Stretch(file, 0.0, 0.5))) == [10, 13, 16, 19]
    assert numbers(made.eval_input(Stretch(file, 0.5, 0.0))) == [19, 16, 13, 10]
    assert numbers(made.eval_input(Stretch(film(60), 1.0, 0.5))) == [49, 46, 43, 40]
    by_time = modality(fps=10.0)
    assert numbers(by_time.eval_input(Stretch(file, 0.5, 0.0))) == [19, 16, 13, 10]
    begins = {numbers(trained(made, Stretch(file, 0.5, 0.75), index))[0] for index in range(60)}
    assert begins == set(range(30, 36))


def test_one_crop_for_the_whole_clip():
    """Frames that are equal stay equal, and crops differ from clip to clip."""
    noise = np.random.default_rng(0).integers(0, 256, (1, 60, 90, 3), dtype=np.uint8)
    still = np.repeat(noise, 8, axis=0)
    made = VideoModality(VideoModality.Config(frames=8, stride=1, size=(24, 24)))
    clips = [trained(made, still, index) for index in range(20)]
    for clip in clips:
        assert torch.equal(clip, clip[:, :1].expand_as(clip))
    assert len({clip.numpy().tobytes() for clip in clips}) == 20
    assert made.eval_input(still).shape == (3, 8, 24, 24)


def test_half_of_the_clips_are_mirrored():
    ramp = np.zeros((4, HEIGHT, WIDTH, 3), dtype=np.uint8)
    ramp[:, :, : WIDTH // 2] = 255
    crops = {**WHOLE, "crop_scale": (0.9, 1.0), "flip": True, "size": (4, 10)}
    made = VideoModality(VideoModality.Config(frames=2, stride=1, **crops))
    clips = [trained(made, ramp, index) for index in range(3000)]
    left = [bool((clip[..., 0] > 128).all()) for clip in clips]
    right = [bool((clip[..., -1] > 128).all()) for clip in clips]
    assert all(a != b for a, b in zip(left, right, strict=True))  # the clip as a whole
    assert stats.binomtest(sum(left), 3000).pvalue > 0.01
    assert bool((made.eval_input(ramp)[..., 0] > 128).all())
    never = VideoModality(VideoModality.Config(frames=2, stride=1, **{**crops, "flip": False}))
    assert all((trained(never, ramp, index)[..., 0] > 128).all() for index in range(50))


@pytest.mark.parametrize(
    ("height", "width", "size", "share", "box"),
    [
        (100, 200, (10, 10), 1.0, (0, 50, 100, 100)),
        (100, 200, (10, 20), 1.0, (0, 0, 100, 200)),
        (100, 200, (10, 10), 0.5, (25, 75, 50, 50)),
        (200, 100, (10, 20), 1.0, (75, 0, 50, 100)),
        (1, 1, (10, 20), 0.1, (0, 0, 1, 1)),
    ],
)
def test_the_central_part_in_the_aspect_of_the_input(height, width, size, share, box):
    assert central_box(height, width, size, share) == box


def test_one_frame_at_a_time_has_its_full_size(file, monkeypatch):
    """Frames are let go of before the next one is converted."""
    import weakref

    alive: list[weakref.ref] = []
    most = [0]
    plain = container_module.Upright.__call__

    def watched(self, picture):
        found = plain(self, picture).copy()
        alive.append(weakref.ref(found))
        most[0] = max(most[0], sum(each() is not None for each in alive))
        return found

    monkeypatch.setattr(container_module.Upright, "__call__", watched)
    modality(frames=16, stride=1, size=(8, 8)).eval_input(file)
    assert len(alive) == 16
    assert most[0] <= 2


def test_the_device_sees_normalised_colours(file):
    made = modality(mean=(0.5, 0.25, 0.0), std=(0.5, 1.0, 2.0))
    clips = torch.stack([made.eval_input(file), trained(made, file)])
    found = made.device_transform()(clips)
    mean, std = (torch.tensor(v)[:, None, None, None] for v in ((0.5, 0.25, 0), (0.5, 1.0, 2.0)))
    torch.testing.assert_close(found, (clips / 255 - mean) / std)
    assert found.dtype == torch.float32


def test_pictures_are_film_strips():
    made = modality(stride=1)
    strip = made.preview(made.eval_input(film(4))[None])
    assert strip.shape == (1, HEIGHT, 4 * WIDTH, 3)
    assert np.array_equal(strip[0].numpy(), np.concatenate(film(4), axis=1))


def test_raw_features_are_small_frames():
    made = modality(frames=16, stride=1, size=(64, 48))
    clips = torch.randint(0, 256, (3, 3, 16, 64, 48), dtype=torch.uint8)
    found = made.baseline(clips)
    assert found.shape == (3, 3 * 8 * 8 * 8)
    first = clips[0, 1, :2, :8, :6].float().mean() / 255
    torch.testing.assert_close(found[0, 8 * 8 * 8], first)
    small = modality(frames=2, stride=1, size=(4, 4))
    exact = small.baseline(clips[:, :, :2, :4, :4])
    torch.testing.assert_close(exact, clips[:, :, :2, :4, :4].flatten(1) / 255)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"frames": 0}, "frames: found 0"),
        ({"stride": 0}, "stride: found 0"),
        ({"fps": -1.0}, "fps: found -1.0"),
        ({"short": "pad"}, "short: found 'pad', allowed: .*hold.*loop"),
        ({"size": [0, 4]}, "size"),
        ({"crop_scale": [0.5, 0.2]}, "crop_scale"),
        ({"eval_crop": 1.5}, "eval_crop"),
        ({"std": [1.0, 0.0, 1.0]}, "std"),
        ({"mean": [0.5]}, "mean"),
        ({"strides": 2}, "strides.*stride"),
    ],
)
def test_wrong_settings_are_named(settings, said):
    with pytest.raises(ConfigError, match=said):
        structure(settings, VideoModality.Config)


def test_no_film_is_refused(tmp_path):
    made = modality()
    for content in (b"no film", np.zeros((3, 3), np.uint8), tmp_path, tmp_path / "none.mp4"):
        with pytest.raises(DecodeError):
            trained(made, content)
        with pytest.raises(DecodeError):
            made.eval_input(content)


def test_it_travels_to_workers(file):
    made = modality(flip=True)
    copied = pickle.loads(pickle.dumps(made))
    assert torch.equal(trained(made, file), trained(copied, file))


@conformance(
    "modality",
    "video",
    settings={"size": [32, 32], "frames": 4},
    contents=[film(40), film(200)[60:180], film(30)[:, :, ::-1]],
    junk=[b"no film", np.zeros((4, 4), np.uint8)],
    overrides=[
        "model.dim=24",
        "model.tokenizer.size=[2, 8, 8]",
        "model.encoder={name: vit, depth: 1, heads: 2}",
        "model.predictor={name: vit, depth: 1, dim: 24, heads: 2}",
        "masks=[{name: tube, through: [t], num_targets: 2, min_keep: 2}]",
    ],
)
def test_it_keeps_the_promises_of_a_modality(check):
    check()
