"""Lines of progress: seldom, and right about the rest."""

from jepa.commands import ticker


def test_a_line_every_five_seconds(monkeypatch, capsys):
    clock = iter([100.0, 104.0, 106.0, 108.0, 140.0, 150.0])
    monkeypatch.setattr(ticker.time, "monotonic", lambda: next(clock))
    told = ticker.Ticker(10_000, done=1000)
    for done in (1300, 1600, 1800, 5000, 5000):
        told.tell(done)
    assert capsys.readouterr().err.splitlines() == [
        "1,600 of 10,000 samples, 100 a second, 1 min 24 s left",
        "5,000 of 10,000 samples, 100 a second, 50 s left",
        "5,000 of 10,000 samples, 80 a second, 1 min 2 s left",
    ]


def test_nothing_done_since_it_went_on_gives_no_rate(monkeypatch, capsys):
    clock = iter([0.0, 60.0])
    monkeypatch.setattr(ticker.time, "monotonic", lambda: next(clock))
    ticker.Ticker(10, done=4).tell(4)
    assert capsys.readouterr().err == ""


def test_hours():
    assert ticker.duration(7384) == "2 h 3 min"
