"""`results.csv` and `results.md` of made-up sweeps."""

from __future__ import annotations

import csv
import io
import json
import re

import attrs
import fake_jepa
import made_up
import pytest

from jepa.ablation.csv_table import SECONDS
from jepa.ablation.outcome import Outcome
from jepa.ablation.plan import shell
from jepa.ablation.results import write_results

SCORES = {"a": [0.50, 0.52, 0.51], "b": [0.47, 0.50, 0.47], "c": [0.51, 0.51, 0.50]}
EVIL = "<script>alert(1)</script> | *b*\n`x` $\\frac$ [l](u)"


def written(made, found):
    """The texts of the files, by name."""
    made.folder.mkdir(parents=True, exist_ok=True)
    return {path.name: path.read_text("utf-8") for path in write_results(made, found)}


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text)))


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """Nine runs: one failed, one stopped, one waiting, the others done."""
    made = made_up.sweep(tmp_path_factory.mktemp("sweep") / "rates", ["a", "b", "c"])
    special = {
        ("b", 2): ("failed", "jepa: out of | memory\n<b>", 0),
        ("c", 1): ("stopped", "step 20 of 50", 20),
        ("c", 2): ("waiting", "", 0),
    }
    found = []
    for outcome in made_up.outcomes(made, SCORES):
        run = outcome.run
        if (run.variant.label, run.seed) in special:
            status, reason, step = special[run.variant.label, run.seed]
            outcome = Outcome(run=run, status=status, reason=reason, step=step)
        found.append(outcome)
    made_up.write_metrics(made.runs[0], [40.0, 80.0, 80.0])
    return made, found, written(made, found)


def test_the_csv_has_a_row_a_run_with_everything(mixed):
    made, found, texts = mixed
    rows = rows_of(texts["results.csv"])
    assert [(row["label"], row["seed"]) for row in rows] == [
        (label, seed) for seed in "012" for label in "abc"
    ]
    first = rows[0]
    assert first["optim.lr"] == "0.1"
    assert (first["status"], first["step"], first["samples"]) == ("done", "50", "400")
    assert float(first["knn trained"]) == 0.5
    assert float(first["knn trained low"]) == pytest.approx(0.48)
    assert float(first["knn random init"]) == 0.3
    assert first["knn metric"] == "accuracy"
    assert rows[1]["knn random init"] == ""
    assert float(first["tflops"]) == pytest.approx(
        0.4 * float(first["gflops_per_sample"]), rel=1e-6
    )
    assert float(first[SECONDS]) == pytest.approx(400 / 80)
    assert first["train_command"] == shell(made.runs[0].train_command)
    assert first["eval_command"] == shell(made.runs[0].eval_command)
    failed = rows[7]
    assert (failed["status"], failed["reason"]) == ("failed", found[7].reason)
    assert failed["knn trained"] == failed[SECONDS] == ""


@pytest.mark.parametrize("label", ["=1+1", "+x", "-x", "@x", "'quoted", "a,b", 'a"b', "two\nlines"])
def test_labels_come_back_from_the_csv_and_are_no_formulas(tmp_path, label):
    made = made_up.sweep(tmp_path, [label], seeds=[0])
    found = made_up.outcomes(made, {label: [0.5]})
    cell = rows_of(written(made, found)["results.csv"])[0]["label"]
    assert cell[0] not in "=+-@"
    assert (cell[1:] if cell.startswith("'") else cell) == label


def test_a_number_is_left_a_number(tmp_path):
    vary = {"optim.final_lr": [0.0], "masks.0.target_aspect": [[0.5, 2.0]]}
    made = made_up.sweep(tmp_path, ["-1e-3"], seeds=[0], vary=vary)
    row = rows_of(written(made, made_up.outcomes(made, {"-1e-3": [0.5]}))["results.csv"])[0]
    assert (row["label"], row["masks.0.target_aspect"]) == ("-1e-3", "[0.5, 2.0]")


def section(text, title):
    return re.search(rf"## {title}\n\n(.*?)\n(?=\n## |\Z)", text, re.DOTALL)[1]


def cells(line):
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]


def test_the_markdown_has_the_table(mixed):
    _, _, texts = mixed
    text = texts["results.md"]
    assert text.startswith("# Ablation rates\n")
    head, _, *lines = section(text, "Results").split("\n\n")[0].splitlines()
    assert cells(head) == ["variant", "seeds", "knn accuracy, %", "minus reference"]
    table = {row[0]: row[1:] for row in map(cells, lines)}
    assert table["a"] == ["3", "**51.0 ± 2.5 (48.5 to 53.5)**", "reference"]
    assert table["b"][0] == "2 of 3"
    assert table["b"][1] == "48.5 ± 19.1 (29.4 to 67.6) ≈"
    assert table["b"][2] == "-2.5 (-8.9 to +3.9) not told apart"
    assert table["c"] == ["1 of 3", "**51.0**", "+1.0 one seed"]  # the mean of a, too
    assert table["*random init*"][1] == "31.0 ± 2.5 (28.5 to 33.5)"
    assert table["*raw baseline*"][1] == "35.0"


def test_the_markdown_tells_failed_runs_and_how_to_make_each(mixed):
    made, _, texts = mixed
    text = texts["results.md"]
    told = section(text, "Runs that are not done").splitlines()
    assert cells(told[2]) == ["c/seed1", "stopped", "step 20 of 50"]
    assert cells(told[3]) == ["b/seed2", "failed", r"jepa: out of \| memory \<b\>"]
    commands = section(text, "Commands")
    for run in made.runs:
        assert f"# {run.name}\n{shell(run.train_command)}\n{shell(run.eval_command)}\n" in commands
    assert "| a | 5 s |" in section(text, "Time")
    assert "0.5 s" not in section(text, "Results")


def test_the_head_says_what_was_measured_on(tmp_path, monkeypatch):
    made = made_up.sweep(
        tmp_path / "sweep", ["a"], seeds=[0, 1], evaluate={"test": "fashion_mnist"}
    )
    found = made_up.outcomes(made, {"a": [0.5, 0.6]})
    monkeypatch.chdir(tmp_path)
    text = written(made, found)["results.md"]
    assert "- trained on: fashion" in text
    assert "- measured by: knn (k=20, " in text
    assert "- fit on: at most 10,000 samples of the run's own data, split train\n" in text
    assert "- scored on: at most 2,000 samples of fashion_mnist\n" in text
    assert f"Paths are relative to {tmp_path}. To make a run anew, change its --output" in (
        section(text, "Commands")
    )

    answer = fake_jepa.answer(made.runs[1])
    for split, used, there in (("train", 9000, 60000), ("test", 1999, 10000)):
        answer |= {f"{split}_parts": used, f"{split}_samples": used // 3}
        answer |= {split: {"samples": there, "fingerprint": "0"}}
    folder = made.runs[1].folder / "eval"
    folder.mkdir(parents=True)
    (folder / "foreign.json").write_text('{"step": 50, "asked": []}')
    other = {**answer, "asked": {**answer["asked"], "test": None}, "test_parts": 7}
    (folder / "another.json").write_text(json.dumps(other))
    (folder / "knn.json").write_text(json.dumps(answer))
    text = written(made, found)["results.md"]
    assert "- fit on: 9,000 of 60,000 samples of the run's own data, split train\n" in text
    assert "- scored on: 1,999 of 10,000 samples of fashion_mnist\n" in text


def test_data_that_varies_is_told_of_each_variant(tmp_path):
    vary = {"data.split": ["train", "test"]}
    made = made_up.sweep(tmp_path, ["a", "b"], seeds=[0], vary=vary)
    text = written(made, made_up.outcomes(made, {"a": [0.5], "b": [0.5]}))["results.md"]
    told = re.search(r"- trained on: (.*)\n", text)[1]
    assert re.fullmatch(r"a: fashion\w+, split train; b: fashion\w+, split test", told)


def test_nothing_in_a_label_becomes_markdown(tmp_path):
    made = made_up.sweep(tmp_path, [EVIL, "__b__"], seeds=[0, 1])
    text = written(made, made_up.outcomes(made, {EVIL: [0.5, 0.6], "__b__": [0.4, 0.5]}))[
        "results.md"
    ]
    body = text.split("## Commands")[0]
    assert "<script" not in body.replace("\\<script", "")
    for line in section(text, "Results").split("\n\n")[0].splitlines():
        assert len(cells(line)) == 4
    assert r"\*b\* \`x\` $\\frac$ \[l\](u)" in body
    assert r"\_\_b\_\_" in body


def test_the_same_outcomes_give_the_same_files(mixed):
    made, found, texts = mixed
    assert written(made, found) == texts


def test_measured_seconds_change_nothing_else(tmp_path):
    """As after a kill: other times, the same table."""
    made = made_up.sweep(tmp_path, ["a", "b", "c"])
    found = made_up.outcomes(made, SCORES)
    both = []
    for rate in (40.0, 90.0):
        made_up.write_metrics(made.runs[0], [rate])
        both.append(written(made, found))
    tables = [
        [{k: v for k, v in row.items() if k != SECONDS} for row in rows_of(texts["results.csv"])]
        for texts in both
    ]
    assert tables[0] == tables[1]
    before, after = (texts["results.md"].split("## Time") for texts in both)
    assert before[0] == after[0]
    assert before[1] != after[1]


def test_nothing_done_yet_is_said(tmp_path):
    made = made_up.sweep(tmp_path, ["a", "b"], seeds=[0])
    texts = written(made, [Outcome(run=run, status="waiting") for run in made.runs])
    assert "No run is done yet." in texts["results.md"]
    assert "No run is done yet." in texts["report.html"]
    assert len(rows_of(texts["results.csv"])) == 2


def test_a_disk_that_refuses_leaves_the_old_files(tmp_path, mixed):
    made, found, _ = mixed
    gone = attrs.evolve(made, folder=tmp_path / "nowhere")
    with pytest.raises(OSError, match="nowhere"):
        write_results(gone, found)
