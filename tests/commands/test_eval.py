"""`jepa eval` on a real run of two steps: scores, files, sources, and errors that help."""

import json

import pytest
from PIL import Image

from jepa import cli
from jepa.core.config import load_run
from jepa.core.errors import ConfigError, DataError
from jepa.core.training import distributed, session

SMALL = [
    "model.dim=16",
    "model.encoder={name: vit, depth: 1, heads: 2}",
    "model.predictor={name: vit, depth: 1, dim: 16, heads: 2}",
    "data.workers=0",
    "observers=[]",
    "train={global_batch: 8, max_steps: 2, log_every: 1, device: cpu}",
]
FEW = ("--train-samples", "200", "--test-samples", "100")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    output = tmp_path_factory.mktemp("eval") / "run"
    config = load_run("image/quickstart", SMALL)
    assert session.train(config, output, distributed.start("cpu")) == "completed"
    return output


def jepa_eval(*argv: str) -> int:
    args = cli.parse(["eval", *argv])
    return args.run(args)


def written(folder) -> dict:
    (path,) = folder.glob("*.json")
    return json.loads(path.read_text())


def test_scores_are_printed_and_written(trained, tmp_path, capsys):
    protocols = ["--protocol", "knn", "--protocol", "logistic"]
    assert jepa_eval(str(trained), *protocols, *FEW, "--output", str(tmp_path), "knn.k=7") == 0
    said = capsys.readouterr().out
    told = written(tmp_path)
    assert told["step"] == 2
    assert told["protocols"]["knn"]["k"] == 7
    assert (told["train_samples"], told["test_samples"], told["classes"]) == (200, 100, 10)
    assert [(row["protocol"], row["features"]) for row in told["rows"]] == [
        (protocol, features)
        for protocol in ("knn", "logistic")
        for features in ("trained", "random init", "raw baseline")
    ]
    assert told["rows"][2]["score"]["value"] > 0.4  # the content of clothes tells clothes apart
    for row in told["rows"]:
        assert f"{100 * row['score']['value']:.1f}%" in said
    assert len(list((tmp_path / "features").iterdir())) == 2


def test_the_trained_encoder_alone(trained, tmp_path):
    asked = ["--protocol", "knn", *FEW]
    assert jepa_eval(str(trained), *asked, "--output", str(tmp_path / "all")) == 0
    assert jepa_eval(str(trained), *asked, "--trained-only", "--output", str(tmp_path / "one")) == 0
    every, alone = written(tmp_path / "all"), written(tmp_path / "one")
    assert alone["rows"] == every["rows"][:1]
    assert alone["asked"] == every["asked"]
    names = [next((tmp_path / name).glob("*.json")).name for name in ("all", "one")]
    assert len(set(names)) == 2  # neither replaces the other
    with pytest.raises(ConfigError, match="--trained-only leaves random inits out"):
        jepa_eval(str(trained), *asked, "--trained-only", "--random-inits", "2")


def test_other_settings_do_not_replace_a_result(trained, tmp_path):
    for settings in ([], ["k=3"], ["k=4"], ["k=3"]):
        assert (
            jepa_eval(str(trained), "--protocol", "knn", "--output", str(tmp_path), *settings, *FEW)
            == 0
        )
    assert len(list(tmp_path.glob("knn*.json"))) == 3
    checkpoint = trained / "checkpoints" / "step_00000002"
    for run, more in ((checkpoint, []), (trained, ["data.workers=1"])):
        arguments = ["--protocol", "knn", "--output", str(tmp_path), *FEW, *more]
        assert jepa_eval(str(run), *arguments) == 0
    assert len(list(tmp_path.glob("knn*.json"))) == 5


def test_samples_from_elsewhere(trained, tmp_path, capsys):
    for place in range(12):
        folder = tmp_path / "data" / "ab"[place % 2]
        folder.mkdir(parents=True, exist_ok=True)
        # One class is dark and one bright: pixels tell them apart without fail.
        Image.new("L", (40, 30), 3 * place + 200 * (place % 2)).save(folder / f"{place}.png")
    data = str(tmp_path / "data")
    output = tmp_path / "out"
    sources = ["--train", data, "--test", data]
    assert (
        jepa_eval(str(trained), "--protocol", "knn", *sources, "--output", str(output), "k=1") == 0
    )
    told = written(output)
    assert (told["train_samples"], told["classes"]) == (12, 2)
    assert told["rows"][0]["score"]["value"] == 1.0  # each sample is its own neighbour
    assert told["train"]["source"] == data
    assert "are the same samples" in capsys.readouterr().out
    (tmp_path / "data" / "a" / "0.png").write_bytes(b"no picture")
    assert jepa_eval(str(trained), "--protocol", "knn", "--train", data, "--test", data, "k=1") == 0
    assert "left out     1 of 12 train samples: not decodable" in capsys.readouterr().out
    with pytest.raises(DataError, match="different classes"):
        jepa_eval(str(trained), "--protocol", "knn", "--train", data)
    with pytest.raises(ConfigError, match=r"--test.*nowhere"):
        jepa_eval(str(trained), "--protocol", "knn", "--test", "nowhere")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--protocol", "linaer"], "linaer.*did you mean 'linear'"),
        (["--protocol", "knn", "kk=3"], "--protocol knn.*kk: unknown key, allowed: k, "),
        (["--protocol", "knn", "k=0"], "--protocol knn: k: found 0"),
        (["--protocol", "knn", "--protocol", "knn"], "'knn' twice"),
        (["--protocol", "knn", "--protocol", "linear", "k=3"], "NAME.key=value, NAME one of"),
        (["--protocol", "knn", "--protocol", "linear", "kn.k=3"], "did you mean 'knn'"),
        (["--protocol", "knn", "data.rooot=3"], "rooot"),
    ],
)
def test_bad_arguments_are_named(trained, tmp_path, arguments, message):
    with pytest.raises(ConfigError, match=f"(?s){message}"):
        jepa_eval(str(trained), *arguments, "--output", str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_the_protocol_must_be_named(trained, capsys):
    with pytest.raises(SystemExit):
        jepa_eval(str(trained))
    assert "--protocol" in capsys.readouterr().err
