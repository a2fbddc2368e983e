"""Stands in for `python -m jepa` in tests of the sweep itself: runs that take no time."""

from __future__ import annotations

import json
from pathlib import Path

from jepa.ablation.plan import Run, Sweep
from jepa.core.settings import unstructure

TINY = (
    "model.dim=16",
    "model.encoder={name: vit, depth: 1, heads: 2}",
    "model.predictor={name: vit, depth: 1, dim: 16, heads: 2}",
    "train.global_batch=8",
    "train.precision=fp32",
    "train.device=cpu",
    "train.log_every=1",
    "optim.warmup_epochs=0",
    "data.workers=0",
    "observers=[jsonl]",
)
"""Over `image/quickstart`."""

_MAIN = """
import json, os, pathlib, signal, sys, time

command, words = sys.argv[1], sys.argv[2:]
folder = pathlib.Path(words[words.index("--output") + 1] if command == "train" else words[0])
variant = folder.parent.name
with open("said.jsonl", "a") as said:
    seen = {name: os.environ.get(name) for name in ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES")}
    said.write(json.dumps({"argv": sys.argv[1:], "pid": os.getpid(), **seen}))
    said.write("\\n")

def mark(name, step):
    (folder / "checkpoints" / f"step_{step:08d}").mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps({"step": step}))

def save(*_):
    mark("INTERRUPTED", 2)
    os._exit(0)

steps = next((int(w.split("=")[1]) for w in words if w.startswith("train.max_steps=")), 0)
if command == "train":
    if variant == "refused":
        print("jepa: passed over a checkpoint", file=sys.stderr)
        sys.exit("jepa: config: 2 faults\\n  a: wrong\\n  b: wrong")
    if variant == "crashes":
        print("jepa: all is well", file=sys.stderr)
        raise RuntimeError("out of luck")
    if variant == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    if variant == "waits" and not (folder / "INTERRUPTED").exists():
        signal.signal(signal.SIGTERM, save)
        folder.mkdir(parents=True)
        (folder / "ready").touch()
        time.sleep(600)
    if variant.startswith("together"):
        deadline = time.monotonic() + 60
        while len(open("said.jsonl").readlines()) < 3:
            if time.monotonic() > deadline:
                sys.exit("jepa: the others did not come")
            time.sleep(0.01)
    mark("COMPLETED", steps)
else:
    answer = json.loads(pathlib.Path("answers.json").read_text())[str(folder)]
    asked = [words[at + 1] for at, word in enumerate(words) if word == "--protocol"]
    alone = "--trained-only" in words
    if variant == "unmeasured" or (variant == "nolinear" and "linear" in asked):
        sys.exit("jepa: no quantity here")
    answer["protocols"] = {name: answer["protocols"][name] for name in asked}
    answer["rows"] = [
        row for row in answer["rows"]
        if row["protocol"] in asked and not (alone and row["features"] != "trained")
    ]
    (folder / "eval").mkdir(exist_ok=True)
    name = "+".join(asked) + "-alone" * alone
    (folder / "eval" / f"{name}.json").write_text(json.dumps(answer))
"""


def install(site: Path) -> None:
    """Put it where `python -m jepa` started in `site` finds it."""
    package = site / "jepa"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text(_MAIN)


def prepare_answers(site: Path, sweep: Sweep) -> None:
    """What its `eval` will write for the runs of a sweep."""
    answers = {str(run.folder): answer(run) for run in sweep.runs}
    (site / "answers.json").write_text(json.dumps(answers))


def answer(run: Run) -> dict:
    """A result as `jepa eval` writes it, with the baselines."""
    features = ("trained", "random init", "raw baseline")
    seen = run.samples
    score = {"value": 0.5 + run.seed / 100, "low": 0.4, "high": 0.6}
    return {
        "step": run.steps,
        "train": {"fingerprint": seen.train if seen else ""},
        "test": {"fingerprint": seen.test if seen else ""},
        "protocols": {part.name: unstructure(part.config) for part in run.measure},
        "asked": {
            "train": run.evaluate.train,
            "test": run.evaluate.test,
            "train_samples": run.evaluate.train_samples,
            "test_samples": run.evaluate.test_samples,
            "random_inits": 1,
        },
        "seed": 0,
        "rows": [
            {"protocol": part.name, "features": name, "metric": "accuracy", "score": score}
            for part in run.measure
            for name in features
        ],
    }


def said(site: Path) -> list[dict]:
    """How it was called, in order."""
    path = site / "said.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
