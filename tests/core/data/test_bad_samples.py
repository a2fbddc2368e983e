from __future__ import annotations

import json

from jepa.core.data.bad_samples import BadSample, BadSamples


def bad(*indices: int) -> list[BadSample]:
    return [BadSample(i, f"{i}.jpg", "DecodeError: torn", i + 1) for i in indices]


def lines(samples: BadSamples) -> list[dict]:
    return [json.loads(line) for line in samples.path.read_text().splitlines()]


def test_each_sample_is_listed_once(tmp_path):
    samples = BadSamples(tmp_path / "out" / "bad_samples.jsonl")
    assert samples.count == 0
    assert samples.add(0, []) == 0
    assert not samples.path.exists()
    assert samples.add(4, bad(7, 9, 7)) == 2
    assert samples.add(5, bad(9, 3)) == 1
    assert [(line["step"], line["index"]) for line in lines(samples)] == [(4, 7), (4, 9), (5, 3)]
    assert lines(samples)[0] == {
        "step": 4, "index": 7, "name": "7.jpg", "reason": "DecodeError: torn", "replaced_by": 8
    }  # fmt: skip
    assert samples.count == 3
    assert BadSamples(samples.path).count == 3


def test_cut_back_keeps_what_came_before(tmp_path):
    samples = BadSamples(tmp_path / "bad.jsonl")
    samples.cut_back(3)
    assert not samples.path.exists()
    for step in range(6):
        samples.add(step, bad(10 + step))
    samples.cut_back(3)
    assert [line["step"] for line in lines(samples)] == [0, 1, 2]
    assert samples.count == 3
    assert samples.add(3, bad(13)) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["bad.jsonl"]


def test_a_torn_line_is_passed_over(tmp_path):
    path = tmp_path / "bad.jsonl"
    BadSamples(path).add(0, bad(1, 2))
    path.write_bytes(path.read_bytes()[:-9])
    again = BadSamples(path)
    assert again.count == 1
    again.cut_back(100)
    assert again.add(1, bad(2)) == 1
    assert [line["index"] for line in lines(again)] == [1, 2]


def test_excess_is_judged_by_what_was_seen(tmp_path):
    samples = BadSamples(tmp_path / "bad.jsonl")
    samples.add(0, bad(0))
    assert samples.excess(seen=32, total=10**6, max_fraction=0.01) is None
    assert samples.excess(seen=10**9, total=50, max_fraction=0.02) is None
    samples.add(1, bad(1))
    assert samples.excess(seen=10**9, total=50, max_fraction=0.02) is not None
    samples.add(2, bad(*range(10)))
    assert samples.excess(seen=32, total=10**6, max_fraction=0.01) is None
    samples.add(3, bad(10))
    assert samples.excess(seen=32, total=10**6, max_fraction=0.01) is not None
    assert samples.excess(seen=5000, total=10**6, max_fraction=0.01) is None
    samples.add(4, bad(*range(40)))
    message = samples.excess(seen=100, total=10**6, max_fraction=0.01)
    assert "40 samples cannot be decoded, 4.0% of 1000" in message
    assert str(samples.path) in message
    assert message.count("DecodeError: torn") == 3
