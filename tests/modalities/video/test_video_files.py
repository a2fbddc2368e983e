"""Film files to frames: containers, exactness, jumps, times, rotation, damage."""

from __future__ import annotations

import os
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
from films import CODECS, DIGITS, HEIGHT, WIDTH, film, frame, number, write

from jepa.core.errors import DecodeError
from jepa.core.modality import Stretch
from jepa.modalities.video import container, files, packets
from jepa.modalities.video.files import EXTENSIONS
from jepa.modalities.video.opening import open_film
from jepa.modalities.video.upright import Upright

av = pytest.importorskip("av", reason="needs PyAV: the extra `video`")

N = 45


def seen(content, places):
    """Numbers that the frames at some places carry, in the order of the places."""
    found = {place: number(colours) for place, colours in open_film(content).frames(places)}
    assert sorted(found) == sorted(places)
    return [found[place] for place in places]


@pytest.fixture
def counting(monkeypatch):
    """How many frames were decoded, as a list of one."""
    count = [0]
    plain = files.decoded

    def decoded(file):
        for each in plain(file):
            count[0] += 1
            yield each

    monkeypatch.setattr(container, "decoded", decoded)
    return count


VARIANTS = [
    *((ending, *both) for ending, both in CODECS.items()),
    ("mp4", "mpeg4", "yuv420p"),
    ("mp4", "libx265", "yuv420p10le"),
    ("mkv", "ffv1", "gray"),
    ("mkv", "libx264", "yuv422p10le"),
    ("mov", "png", "rgba"),
    ("mov", "qtrle", "argb"),
    ("webm", "libvpx", "yuv420p"),
    ("webm", "libvpx-vp9", "yuva420p"),
    ("avi", "mjpeg", "yuvj420p"),
    ("avi", "libx264", "yuv420p"),
    ("avi", "huffyuv", "rgb24"),
]


@pytest.mark.parametrize(("ending", "codec", "pixels"), VARIANTS)
@pytest.mark.parametrize("as_file", [True, False], ids=["file", "bytes"])
def test_every_format_gives_its_frames(tmp_path, ending, codec, pixels, as_file):
    if codec not in av.codecs_available:
        pytest.skip(f"this FFmpeg has no {codec}")
    assert f".{ending}" in EXTENSIONS
    path = write(tmp_path / f"a.{ending}", film(N), codec=codec, pixels=pixels)
    content = path if as_file else path.read_bytes()
    opened = open_film(content)
    assert opened.length == N
    assert np.allclose(np.diff(opened.times), 0.1, atol=0.002)
    assert seen(content, list(range(N))) == list(range(N))
    for places in ([0], [N - 1], [7, 19, 20], [3, 43]):
        assert seen(content, places) == places


def test_frames_are_the_colours_of_the_file(tmp_path):
    colours = np.zeros((N, HEIGHT, WIDTH, 3), dtype=np.uint8)
    colours[:, :16, :40] = (220, 40, 40)
    colours[:, 16:, 40:] = (30, 60, 200)
    path = write(tmp_path / "a.mp4", colours, pixels="yuv444p")
    ((_, found),) = open_film(path).frames([20])
    assert found.dtype == np.uint8
    assert np.abs(found.astype(int) - colours[20]).mean() < 4


@pytest.mark.parametrize("ending", ["mp4", "mkv", "webm", "avi"])
def test_only_what_is_needed_is_decoded(tmp_path, counting, ending):
    """600 frames with a key every 24."""
    path = write(tmp_path / f"a.{ending}", film(600), options={"g": "24"}, bits=100_000)
    assert seen(path, [500, 504, 508]) == [500, 504, 508]
    assert counting[0] <= 24 + 24 + 9
    counting[0] = 0
    far = [10, 14, 300, 303, 590]
    assert seen(path, far) == far
    assert counting[0] <= 15 + 2 * (24 + 24 + 4)
    counting[0] = 0
    assert seen(path, [3, 5, 7]) == [3, 5, 7]
    assert counting[0] <= 8


def test_every_frame_right_after_a_jump(tmp_path):
    """B-frames around the keys, which other frames are stored before."""
    options = {"g": "20", "bf": "3", "x264-params": "open-gop=1:scenecut=0"}
    for ending in ("mp4", "mkv"):
        path = write(tmp_path / f"a.{ending}", film(100), options=options)
        assert [seen(path, [place]) for place in range(100)] == [[p] for p in range(100)]


@pytest.mark.parametrize("ending", ["gif", "avi"])
def test_files_that_cannot_jump(tmp_path, counting, ending):
    codec = {"gif": "gif", "avi": "libx264"}[ending]
    path = write(tmp_path / f"a.{ending}", film(100), codec=codec)
    assert seen(path, [80, 84]) == [80, 84]
    assert 85 <= counting[0] <= 90


def test_a_jump_that_went_too_far_is_made_good(tmp_path, monkeypatch, counting):
    path = write(tmp_path / "a.mp4", film(100), options={"g": "20"})
    monkeypatch.setattr(container.FileFilm, "_legs", lambda self, places: [(80, places)])
    assert seen(path, [50, 55]) == [50, 55]
    assert counting[0] > 50


@pytest.mark.parametrize(
    ("decoded", "wanted", "given"),
    [
        ([0, 1, 3, 4], [1, 2, 3], [1, 1, 3]),
        ([0, 1, 3], [4], [3]),
        ([0, 1, 4], [3], None),
        ([0, 1, 4], [2, 4], [1, 4]),
        ([0, 1], [3], None),
        ([1, 2], [0], None),
        ([], [0], None),
    ],
)
def test_one_packet_in_a_row_may_give_no_frame(tmp_path, decoded, wanted, given):
    """Half frames, and frames that are never shown, have packets of their own."""
    opened = open_film(write(tmp_path / "a.mkv", film(6)))
    numbered = [container._Decoded(place, f"frame {place}", True) for place in decoded]
    if given is None:
        with pytest.raises(DecodeError, match="is lost"):
            list(opened._shown(iter(numbered), wanted))
        return
    found = list(opened._shown(iter(numbered), wanted))
    assert [place for place, _ in found] == wanted
    assert [shown.frame for _, shown in found] == [f"frame {place}" for place in given]


@pytest.mark.parametrize("ending", ["mp4", "mkv", "webm", "gif"])
def test_uneven_times(tmp_path, ending):
    stamps = [*range(0, 40, 4), *range(40, 70)]
    path = write(tmp_path / f"a.{ending}", film(40), stamps=stamps, rate=20)
    opened = open_film(path)
    wanted = np.array(stamps) / 20
    assert np.abs(opened.times - opened.times[0] - wanted).max() < 0.002
    assert seen(path, [9, 10, 11, 39]) == [9, 10, 11, 39]


def test_frames_that_an_avi_repeats(tmp_path):
    """AVI has one rate: a frame that stands longer is followed by packets without data."""
    stamps = [*range(0, 40, 4), *range(40, 70)]
    path = write(
        tmp_path / "a.avi", film(40), stamps=stamps, rate=20, codec="huffyuv", pixels="rgb24"
    )
    opened = open_film(path)
    assert opened.length == 40
    assert seen(path, [0, 1, 9, 10, 11, 39]) == [0, 1, 9, 10, 11, 39]


@pytest.mark.parametrize("matrix", [8, 14], ids=["YCgCo", "ICtCp"])
def test_colours_that_ffmpeg_does_not_convert(matrix):
    picture = av.VideoFrame.from_ndarray(frame(5), format="rgb24").reformat(format="yuv444p")
    usual = Upright(1.0)(picture)
    picture.colorspace = matrix
    assert number(Upright(1.0)(picture)) == number(usual) == 5


def test_times_before_zero_and_parts_left_out(tmp_path):
    """Cut without encoding: what lies before the cut is stored, and the file says to skip it."""
    whole = write(tmp_path / "whole.mp4", film(60), options={"g": "30"})
    cut = tmp_path / "cut.mp4"
    with av.open(str(whole)) as source, av.open(str(cut), "w") as made:
        stream = made.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is None or packet.pts is None:
                continue
            late = 10 * 1024  # ten frames
            packet.pts, packet.dts = packet.pts - late, packet.dts - late
            packet.stream = stream
            made.mux(packet)
    opened = open_film(cut)
    first = number(next(iter(opened.frames([0])))[1])
    assert opened.length == 60 - first
    assert seen(cut, [0, 9, opened.length - 1]) == [first, first + 9, 59]
    with av.open(str(cut)) as again:  # what a player shows
        shown = [each.to_ndarray(format="rgb24") for each in again.decode(video=0)]
    assert number(shown[0]) == first


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_rotation_is_applied(tmp_path, degrees, mirror):
    plain = np.full((HEIGHT, WIDTH, 3), 40, dtype=np.uint8)
    plain[:8, :16] = 220  # a mark at the top left, longer than it is high
    path = write(tmp_path / "a.mp4", [plain] * 3, rotation=degrees, mirror=mirror)
    ((_, found),) = open_film(path).frames([1])
    laid = plain[:, ::-1] if mirror else plain
    options = [np.rot90(laid, degrees // 90), np.rot90(plain, degrees // 90)[:, ::-1]]
    wanted = [each for each in options if each.shape == found.shape]
    errors = [np.abs(found.astype(int) - each).mean() for each in wanted]
    assert min(errors) < 4
    if not mirror:
        assert errors[0] < 4
    with av.open(str(path)) as again:
        angle = next(again.decode(video=0)).rotation % 360
    assert (found.shape[0] > found.shape[1]) == (angle in (90, 270))


def test_pixels_that_are_not_square_are_made_so(tmp_path):
    path = write(tmp_path / "a.mkv", film(5), aspect=Fraction(3, 2))
    ((_, found),) = open_film(path).frames([3])
    assert found.shape == (HEIGHT, WIDTH * 3 // 2, 3)
    assert number(found) == 3


def test_a_film_among_other_streams(tmp_path):
    """Sound, and two films, of which the first counts."""
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as made:
        sound = made.add_stream("libvorbis" if "libvorbis" in av.codecs_available else "aac", 8000)
        films = [made.add_stream("mpeg4", rate=10) for _ in range(2)]
        for stream in films:
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for place in range(20):
            for stream, value in zip(films, (place, 500 + place), strict=True):
                made.mux(stream.encode(av.VideoFrame.from_ndarray(frame(value), format="rgb24")))
            made.mux(sound.encode(_sound(place)))
        for stream in (*films, sound):
            made.mux(stream.encode())
    assert seen(path, [0, 7, 19]) == [0, 7, 19]


def _sound(place=0):
    samples = av.AudioFrame.from_ndarray(
        np.zeros((1, 1024), dtype=np.float32), format="fltp", layout="mono"
    )
    samples.sample_rate, samples.pts = 8000, 1024 * place
    return samples


def test_a_cover_is_no_film(tmp_path):
    """Such as that of a song in a file of films."""
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as made:
        sound = made.add_stream("aac", 8000)
        cover = made.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = WIDTH, HEIGHT, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        made.mux(cover.encode(av.VideoFrame.from_ndarray(frame(9), format="rgb24")))
        made.mux([*cover.encode(), *sound.encode(_sound()), *sound.encode()])
    with av.open(str(path)) as again:
        assert again.streams.video[0].disposition & av.stream.Disposition.attached_pic
    with pytest.raises(DecodeError, match="no stream of pictures"):
        open_film(path)


def test_containers_that_are_not_listed_are_refused_whatever_their_name(tmp_path):
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w", format="mpegts") as made:
        stream = made.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for place in range(20):
            made.mux(stream.encode(av.VideoFrame.from_ndarray(frame(place), format="rgb24")))
        made.mux(stream.encode())
    with av.open(str(path)) as again:
        assert len(list(again.decode(video=0))) == 20
    with pytest.raises(DecodeError, match="no film of a known format"):
        open_film(path)


def test_large_files_are_read_through_once(tmp_path, monkeypatch):
    path = write(tmp_path / "a.mp4", film(20))
    monkeypatch.setattr(packets, "_LARGE", 0)
    before = packets._remembered.cache_info()
    for _ in range(3):
        assert seen(path, [4]) == [4]
    after = packets._remembered.cache_info()
    assert (after.misses - before.misses, after.hits - before.hits) == (1, 2)
    os.utime(path, (1, 1))
    assert open_film(path).length == 20
    assert packets._remembered.cache_info().misses - after.misses == 1
    write(path, film(30))
    assert open_film(path).length == 30


# --- parts and directions -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("begin", "end", "wanted"),
    [
        (0.0, 1.0, list(range(40))),
        (0.25, 0.5, list(range(10, 20))),
        (1.0, 0.0, list(range(39, -1, -1))),
        (0.5, 0.25, list(range(19, 9, -1))),
    ],
)
def test_stretches(tmp_path, begin, end, wanted):
    path = write(tmp_path / "a.mp4", film(40), options={"g": "10"})
    part = Stretch(path, begin, end)
    opened = open_film(part)
    assert opened.length == len(wanted)
    assert seen(part, list(range(len(wanted)))) == wanted
    assert (np.diff(opened.times) > 0).all()


def test_times_of_a_film_that_runs_backwards(tmp_path):
    stamps = [0, 1, 2, 10, 11]
    path = write(tmp_path / "a.mp4", film(5), stamps=stamps, rate=20)
    backwards = open_film(Stretch(path, 1.0, 0.0)).times
    assert np.allclose(np.diff(backwards) * 20, [1, 8, 1, 1])


# --- what is no film ----------------------------------------------------------------------------


def test_what_is_no_film_is_refused(tmp_path):
    path = write(tmp_path / "a.mp4", film(20))
    junk = {
        "empty": b"",
        "text": b"no film at all\n" * 100,
        "header": path.read_bytes()[:40],
        "playlist": b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n#EXT-X-ENDLIST\n",
        "list": f"ffconcat version 1.0\nfile '{path}'\n".encode(),
    }
    for name, data in junk.items():
        bad = tmp_path / f"{name}.mp4"
        bad.write_bytes(data)
        for content in (bad, data):
            with pytest.raises(DecodeError) as caught:
                list(open_film(content).frames([0]))
            assert str(caught.value).strip()
    with pytest.raises(DecodeError, match="cannot be read"):
        open_film(tmp_path / "none.mp4")


def test_sound_alone_is_no_film(tmp_path):
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as made:
        sound = made.add_stream("aac", 8000)
        made.mux([*sound.encode(_sound()), *sound.encode()])
    with pytest.raises(DecodeError, match="no stream of pictures"):
        open_film(path)


def test_no_frames_at_all(tmp_path):
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as made:
        stream = made.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        made.start_encoding()
    with pytest.raises(DecodeError):
        open_film(path)


@pytest.mark.parametrize("ending", ["mkv", "webm", "avi", "gif", "mp4"])
def test_a_film_that_was_cut_off_gives_what_it_has(tmp_path, ending):
    path = tmp_path / f"a.{ending}"
    _faststart(path) if ending == "mp4" else write(path, film(60))
    with av.open(str(path)) as source:
        ends = [p.pos + p.size for p in source.demux(video=0) if p.size]
    path.write_bytes(path.read_bytes()[: ends[40] - 1])
    opened = open_film(path)
    assert 35 < opened.length < 45
    some = [0, 30]
    assert seen(path, some) == some


def _faststart(path):
    with av.open(str(path), "w", options={"movflags": "faststart"}) as made:
        stream = made.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for place in range(60):
            picture = av.VideoFrame.from_ndarray(frame(place), format="rgb24")
            made.mux(stream.encode(picture))
        made.mux(stream.encode())


@pytest.mark.parametrize("ending", ["mp4", "mkv", "webm", "avi", "gif"])
def test_damage_is_refused_or_does_no_harm(tmp_path, ending):
    """Bytes overwritten anywhere: a clean error, or frames; never another error."""
    path = write(tmp_path / f"a.{ending}", film(40), options={"g": "10"}, bits=200_000)
    data = path.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(40):
        spoilt = bytearray(data)
        at = int(rng.integers(0, len(data) - 64))
        spoilt[at : at + 64] = rng.integers(0, 256, 64, dtype=np.uint8).tobytes()
        try:
            opened = open_film(bytes(spoilt))
            places = list(range(0, opened.length, 5))[:100]
            assert [place for place, _ in opened.frames(places)] == places
        except DecodeError:
            refused += 1
    assert refused > 0 or ending == "gif"


def test_a_large_gap_is_damage(tmp_path):
    """A film whose middle is gone; header and index still name it."""
    path = write(tmp_path / "a.mp4", film(60), options={"g": "60", "bf": "0"})
    with av.open(str(path)) as source:
        sizes = [(p.pos, p.size) for p in source.demux(video=0) if p.size]
    data = bytearray(path.read_bytes())
    for pos, size in sizes[20:40]:
        data[pos : pos + size] = bytes(size)
    path.write_bytes(bytes(data))
    with pytest.raises(DecodeError, match="damaged"):
        seen(path, [30])
    assert seen(path, [3, 9]) == [3, 9]


def test_what_is_decoded_from_damage_is_damaged_too(tmp_path):
    """Decoders hide damage by the frames around it, and the next frames are decoded from that."""
    options = {"g": "30", "bf": "0", "x264-params": "scenecut=0"}
    path = write(tmp_path / "a.mp4", film(60), options=options)
    with av.open(str(path)) as source:
        sizes = [(p.pos, p.size) for p in source.demux(video=0) if p.size]
    data, noise = bytearray(path.read_bytes()), np.random.default_rng(0)
    pos, size = sizes[20]
    spoilt = size // 2
    data[pos + spoilt : pos + size] = noise.bytes(size - spoilt)
    path.write_bytes(bytes(data))
    with av.open(str(path)) as again:
        marks = [each.is_corrupt for each in again.decode(video=0)]
    if marks != [place == 20 for place in range(60)]:
        pytest.skip("this FFmpeg hides such damage otherwise")
    for place in (20, 21, 29):
        with pytest.raises(DecodeError, match=f"damaged: frame {place} of 60"):
            seen(path, [place])
    assert seen(path, [5, 19, 30, 45]) == [5, 19, 30, 45]


def test_files_are_closed(tmp_path):
    from pathlib import Path

    path = write(tmp_path / "a.mp4", film(60), options={"g": "10"})
    names = Path("/proc/self/fd")
    if not names.exists():
        pytest.skip("needs /proc")

    def held():
        return sum(1 for each in names.iterdir() if each.exists() and each.resolve() == path)

    for _ in range(3):
        seen(path, [5, 50])
    generator = open_film(path).frames([5, 50])
    next(generator)
    assert held() == 1
    generator.close()
    assert held() == 0


def test_pyav_is_imported_for_files_alone_and_the_error_says_how_to_get_it():
    code = (
        "import sys\n"
        "from jepa.modalities.video import VideoModality\n"
        "import numpy as np\n"
        "m = VideoModality(VideoModality.Config(frames=2, size=(8, 8)))\n"
        "m.eval_input(np.zeros((9, 9, 9, 3), np.uint8))\n"
        "assert 'av' not in sys.modules\n"
        "sys.modules['av'] = None\n"
        "from jepa.core.errors import DataError\n"
        "try:\n"
        "    m.eval_input(b'film')\n"
        "except DataError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'anyjepa[video]'" in done.stdout


def test_digits_of_the_test_itself():
    assert [number(frame(n)) for n in range(2**DIGITS)] == list(range(2**DIGITS))
