"""The notebooks run from top to bottom, on a run of two steps."""

import json
from pathlib import Path

import matplotlib as mpl
import pytest

from jepa.core.config import load_run
from jepa.core.training import distributed, session

NOTEBOOKS = sorted((Path(__file__).parents[1] / "docs" / "notebooks").glob("*.ipynb"))
SMALL = [
    "model.dim=16",
    "model.encoder={name: vit, depth: 1, heads: 2}",
    "model.predictor={name: vit, depth: 1, dim: 16, heads: 2}",
    "data.workers=0",
    "observers=[]",
    "train={global_batch: 8, max_steps: 2, log_every: 1, device: cpu}",
]


def test_there_are_notebooks():
    assert [path.stem for path in NOTEBOOKS] == ["features"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_from_top_to_bottom(path, tmp_path, monkeypatch, capsys):
    config = load_run("image/quickstart", SMALL)
    assert session.train(config, tmp_path / "run", distributed.start("cpu")) == "completed"
    monkeypatch.setenv("JEPA_RUN", str(tmp_path / "run"))
    monkeypatch.chdir(tmp_path)
    mpl.use("agg")
    cells = json.loads(path.read_text("utf-8"))["cells"]
    names: dict[str, object] = {}
    for number, cell in enumerate(cells):
        if cell["cell_type"] == "code":
            code = compile("".join(cell["source"]), f"{path.name}, cell {number}", "exec")
            exec(code, names)
    assert names["features"].shape == (1, 16)
    said = capsys.readouterr().out
    assert "pooled feature: True" in said
    assert "of 100 images right" in said


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_shows_what_it_gives(path):
    """People read them where nothing runs."""
    cells = [c for c in json.loads(path.read_text("utf-8"))["cells"] if c["cell_type"] == "code"]
    shown = [output for cell in cells for output in cell["outputs"]]
    assert not [output for output in shown if output["output_type"] == "error"]
    assert sum("image/png" in output.get("data", {}) for output in shown) == 2
