import json
import os
from pathlib import Path

import pytest

from jepa.core.files import cut_jsonl, write_atomic


def lines_of(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_write_atomic_replaces_and_leaves_no_other_file(tmp_path: Path) -> None:
    path = tmp_path / "note.json"
    write_atomic(path, "é")
    write_atomic(path, b"second")
    assert path.read_bytes() == b"second"
    assert [p.name for p in tmp_path.iterdir()] == ["note.json"]


def test_write_atomic_that_fails_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "note.json"
    write_atomic(path, "old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomic(path, "new")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["note.json"]


def test_cut_jsonl_keeps_steps_up_to_the_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(json.dumps({"step": step, "x": step / 3}) + "\n" for step in range(10)))
    assert cut_jsonl(path, 4) == 0
    assert [line["step"] for line in lines_of(path)] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    "tail", [b'{"step": 3, "lo', b'{"step": 3, "word": "\xc3', b"[3]\n", b'{"step": true}\n', b"\n"]
)
def test_cut_jsonl_drops_and_counts_what_cannot_be_read(tmp_path: Path, tail: bytes) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\n{"step": 2}\n' + tail)
    assert cut_jsonl(path, 5) == 1
    assert path.read_bytes() == b'{"step": 1}\n{"step": 2}\n'


def test_cut_jsonl_ends_a_whole_last_line(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\n{"step": 2}')
    assert cut_jsonl(path, 5) == 0
    assert path.read_bytes() == b'{"step": 1}\n{"step": 2}\n'


def test_cut_jsonl_touches_nothing_without_need(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\n')
    before = path.stat()
    assert cut_jsonl(path, 1) == 0
    assert path.stat().st_ino == before.st_ino
    assert cut_jsonl(tmp_path / "absent.jsonl", 1) == 0
    assert not (tmp_path / "absent.jsonl").exists()
