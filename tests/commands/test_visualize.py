"""`jepa visualize` on real runs of two steps: of pictures, and of a stranger's signals."""

import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from jepa import cli
from jepa.core.config import load_run
from jepa.core.training import checkpoint, distributed, session
from jepa.core.training.tensorfile import read_tensors
from jepa.evaluation.seeing import NAMES

SMALL = [
    "model.dim=16",
    "model.encoder={name: vit, depth: 2, heads: 2}",
    "model.predictor={name: vit, depth: 1, dim: 16, heads: 2}",
    "data.workers=0",
    "observers=[]",
    "train={global_batch: 8, max_steps: 2, log_every: 1, device: cpu}",
]
QUICK = ["--decoder-steps", "2", "--samples", "2"]

SIGNALS = """
import attrs, numpy as np, torch
from einops import repeat
from jepa.core import (
    Encoder, InputSpec, Item, MaskSampler, Masks, Modality, Source, Target, TargetUpdater
)

class ToFloat(torch.nn.Module):
    def forward(self, inputs):
        return inputs.float()

@attrs.frozen(kw_only=True)
class Settings:
    pass

class Signals(Modality):
    Config = Settings
    extensions = frozenset()
    spec = InputSpec((1, 40), ("t",))
    def __init__(self, config): ...
    @classmethod
    def defaults(cls): return {}
    def train_input(self, content, rng): return self.eval_input(content)
    def eval_input(self, content): return torch.from_numpy(content)[None]
    def device_transform(self): return ToFloat()
    def preview(self, inputs):
        rows = torch.arange(20)[:, None]
        lit = (rows - (10 - 8 * inputs)).abs() < 1.5  # a curve
        return repeat(lit * 255, "b h w -> b h w c", c=3).to(torch.uint8)
    def baseline(self, inputs): return inputs.flatten(1)

class Waves(Source):
    Config = Settings
    takes_root = False
    classes = ()
    def __init__(self, config, place): ...
    def __len__(self): return 24
    def item(self, index):
        return Item(np.sin(np.arange(40) * (index + 1) / 20).astype(np.float32), str(index))
    def labels(self): return None
    def fingerprint(self): return "waves"

class Averages(Encoder):
    Config = Settings
    depth = 1
    def __init__(self, config, grid, dim):
        super().__init__()
        self.mix = torch.nn.Linear(dim, dim)
    def forward(self, tokens): return self.mix(tokens.data) + tokens.data.mean(1, keepdim=True)
    def layers(self, tokens, indices): return [self(tokens) for _ in indices]
    def regrid(self, grid): ...

class Content(Target):
    backbone = None
    def __init__(self, online):
        super().__init__()
        self.tokenizer = (online.tokenizer,)
        self.dim = 4
    def forward(self, inputs, views):
        raw = self.tokenizer[0].raw(inputs)
        rows = torch.arange(len(raw))[:, None, None]
        return tuple(raw[rows, masks.targets] for masks in views)

class Plain(TargetUpdater):
    Config = Settings
    def __init__(self, config): ...
    def make_target(self, online): return Content(online)
    def update(self, target, online, progress, applied): return {}

class All(MaskSampler):
    '''Hides whatever there is but one token.'''
    Config = Settings
    def __init__(self, config, grid): self.size = grid.size
    def sample(self, batch_size, rng):
        places = torch.arange(self.size).expand(batch_size, -1)
        return Masks(places[:, :1], places[:, None])
"""
SIGNAL_RUN = """
modality: signals
data: {source: waves, workers: 0}
model:
  dim: 16
  tokenizer: {name: patch, size: [4]}
  encoder: {name: averages}
  predictor: {name: vit, depth: 1, dim: 16, heads: 2}
  target: plain
  objective: {name: l2, normalise: none}
masks:
  - {name: multiblock, min_keep: 2}
  - {name: multiblock, min_keep: 2, num_targets: 1}
observers: []
train: {global_batch: 8, max_steps: 2, device: cpu}
"""


def train(config, output) -> None:
    assert session.train(config, output, distributed.start("cpu")) == "completed"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run that the tests copy."""
    folder = tmp_path_factory.mktemp("visualize") / "run"
    train(load_run("image/quickstart", SMALL), folder)
    return folder


@pytest.fixture
def run_folder(tmp_path, trained):
    return shutil.copytree(trained, tmp_path / "run")


@pytest.fixture(autouse=True)
def few(monkeypatch):
    monkeypatch.setattr("jepa.evaluation.seeing.decoded._INPUTS", 32)
    monkeypatch.setattr("jepa.evaluation.seeing.subject._BANK", 32)


def visualize(*argv) -> int:
    return cli.main(["visualize", *map(str, argv)])


def test_all_sheets_and_the_page(run_folder, capsys):
    assert visualize(run_folder, *QUICK) == 0
    said = capsys.readouterr().out
    output = run_folder / "visualize"
    assert {path.name for path in output.iterdir()} == {*(f"{n}.png" for n in NAMES), "report.html"}
    page = (output / "report.html").read_text()
    for name in NAMES:
        assert min(Image.open(output / f"{name}.png").size) > 300
        assert f"picture      {output / name}.png" in said
        assert f'id="{name}"' in page
    assert page.count("data:image/png;base64,") == len(NAMES)
    assert "2 shown, held out from training; 32 others" in said
    assert "step 2" in page
    assert "fashion_mnist" in page, "the run's config"
    assert "trained for 2 steps" in page


def test_the_same_seed_draws_the_same(run_folder, tmp_path):
    few = ["--only", "nearest", "--only", "decoded", *QUICK]
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        assert visualize(run_folder, *few, "--seed", seed, "--output", tmp_path / name) == 0
    drawn = {n: [(tmp_path / n / f"{s}.png").read_bytes() for s in ("nearest", "decoded")]
             for n in "abc"}  # fmt: skip
    assert drawn["a"] == drawn["b"]
    assert drawn["a"][0] != drawn["c"][0]
    assert drawn["a"][1] != drawn["c"][1]


def test_chosen_sheets_of_a_checkpoint(run_folder, tmp_path, capsys):
    newest = run_folder / "checkpoints" / "step_00000002"
    output = tmp_path / "deep" / "out"
    only = ["--only", "energy", "--only", "pca"]
    assert visualize(newest, *only, "--output", output, "--samples", "3") == 0
    assert {path.name for path in output.iterdir()} == {"energy.png", "pca.png", "report.html"}
    assert "3 shown" in capsys.readouterr().out
    assert "trained for" not in (output / "report.html").read_text()


def test_the_online_target(tmp_path):
    train(load_run("image/quickstart", [*SMALL, "model.target={name: online}"]), tmp_path / "run")
    assert visualize(tmp_path / "run", *QUICK) == 0
    assert len(list((tmp_path / "run" / "visualize").iterdir())) == len(NAMES) + 1


@pytest.fixture
def signals(packages, tmp_path):
    """A stranger's run: one axis, no labels, no attention, two views, a target without network."""
    entries = {
        "jepa.modalities": {"signals": "signals:Signals"},
        "jepa.sources": {"waves": "signals:Waves"},
        "jepa.encoders": {"averages": "signals:Averages"},
        "jepa.target_updaters": {"plain": "signals:Plain"},
        "jepa.mask_samplers": {"all": "signals:All"},
    }
    packages.add("signals", entries, {"signals": SIGNALS})

    def make(text: str):
        (tmp_path / "signals.yaml").write_text(text)
        train(load_run(str(tmp_path / "signals.yaml")), tmp_path / "run")
        return tmp_path / "run"

    return make


def test_a_strangers_signals(signals, capsys):
    run = signals(SIGNAL_RUN)
    assert visualize(run, *QUICK) == 0
    said = capsys.readouterr().out
    assert "2 shown, of the training data; 22 others" in said
    assert "left out     attention: the encoder Averages shows no attention" in said
    names = {path.name for path in (run / "visualize").iterdir()}
    assert names == {f"{name}.png" for name in NAMES if name != "attention"} | {"report.html"}
    page = (run / "visualize" / "report.html").read_text()
    assert "the encoder Averages shows no attention" in page
    # Asked for by name it is a fault.
    assert visualize(run, "--only", "attention") == 1
    assert "shows no attention" in capsys.readouterr().err


def test_masks_that_hide_everything_leave_sheets_out(signals, capsys):
    run = signals(SIGNAL_RUN[: SIGNAL_RUN.index("masks:")] + "masks: [all]\n" + SIGNAL_RUN[
        SIGNAL_RUN.index("observers:") :])  # fmt: skip
    assert visualize(run, *QUICK) == 0
    said = capsys.readouterr().out
    for name in ("nearest", "energy", "decoded"):
        assert f"left out     {name}: a hidden block of 10 tokens leaves nothing" in said
    assert (run / "visualize" / "similarity.png").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["model.dim=8"], 2, "found model.dim=8, allowed for a trained run: data.key=value"),
        (["--block", "2", "--only", "attention"], 2, "found [2], allowed: -2 to 1"),
        (["data.source=folder", "data.root=nowhere"], 1, "nowhere"),
    ],
)
def test_faults_are_messages(run_folder, capsys, arguments, code, says):
    assert visualize(run_folder, *QUICK, *arguments) == code
    assert says in capsys.readouterr().err
    assert not (run_folder / "visualize" / "report.html").exists()


def test_a_folder_that_is_no_run(tmp_path, capsys):
    assert visualize(tmp_path) == 1
    assert "no checkpoint in it" in capsys.readouterr().err
    assert not (tmp_path / "visualize").exists()


@pytest.mark.parametrize("wrong", [["--samples", "0"], ["--seed", "-1"], ["--only", "pcaa"]])
def test_wrong_arguments(tmp_path, wrong, capsys):
    with pytest.raises(SystemExit) as end:
        visualize(tmp_path, *wrong)
    assert end.value.code == 2


def test_a_model_that_does_not_fit_its_config_is_refused(run_folder, capsys):
    folder = run_folder / "checkpoints" / "step_00000002"
    text = (folder / "config.yaml").read_text()
    assert text.count("depth: 1") == 1  # the predictor's
    tensors = {stem: read_tensors(folder / f"{stem}.safetensors") for stem in ("model", "target")}
    other = run_folder.parent / "other" / "checkpoints"
    checkpoint.save(
        other, 2, tensors=tensors, documents={"config.yaml": text.replace("depth: 1", "depth: 2")}
    )
    assert visualize(other.parent) == 1
    assert "predictor_blocks.1.attn.qkv.weight: missing in the file" in capsys.readouterr().err


def test_pictures_in_colour(tmp_path):
    draw = np.random.default_rng(0)
    for place in range(12):
        colours = draw.integers(0, 256, (28, 28, 3), dtype=np.uint8)
        (tmp_path / "data").mkdir(exist_ok=True)
        Image.fromarray(colours).save(tmp_path / "data" / f"{place}.png")
    where = ["data.source=folder", f"data.root={tmp_path / 'data'}"]
    where += [f"data.cache={tmp_path / 'cache'}", "modality={name: image, size: [28, 28]}"]
    train(load_run("image/quickstart", [*SMALL, *where]), tmp_path / "run")
    assert visualize(tmp_path / "run", *QUICK, "--only", "decoded") == 0


def test_help_imports_no_torch():
    code = (
        "import argparse, sys; from jepa.commands import visualize; "
        "visualize.configure(argparse.ArgumentParser()); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
