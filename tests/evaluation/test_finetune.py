"""Fine-tuning trains a copy of the encoder, by the settings it is given, and only on labels."""

import math

import attrs
import pytest
import torch
import torch.nn.functional as F
from toy_network import DEPTH, ToyInputs, make_backbone, products
from toy_samples import blobs

from jepa.core.errors import ConfigError, TrainingError
from jepa.core.probing import Batch, Network
from jepa.core.settings import structure
from jepa.evaluation.candidates import candidates, labelled_splits
from jepa.evaluation.classifier import Classifier
from jepa.evaluation.comparison import Candidate, compare
from jepa.evaluation.finetune import Course, Finetune, FinetuneConfig
from jepa.evaluation.layer_decay import groups, layers_of
from jepa.evaluation.loading import find_checkpoint, load_backbone
from jepa.evaluation.logistic import Logistic
from jepa.evaluation.samples import Blind

LEARNS = {"lr": 6e-2, "layer_decay": 1.0, "epochs": 1, "warmup_epochs": 0.1, "batch": 64}


def finetune(**settings) -> Finetune:
    return Finetune(structure({**LEARNS, "min_steps": 150, **settings}, FinetuneConfig))


def accuracy(protocol, train, test) -> float:
    (values,) = protocol.predict(train, Blind(test), seed=0).values
    return (values == test.labels).float().mean().item()


def test_learns_what_the_frozen_features_do_not_say():
    train, test = products(600, 1), products(400, 2)
    assert accuracy(Logistic(Logistic.Config()), train, test) < 0.75
    assert accuracy(finetune(), train, test) > 0.95


def test_shuffled_labels_give_chance():
    """On average: one shuffle may agree with the labels by luck, and then that is learned."""
    train, test = products(300, 1), products(500, 2)
    rng = torch.Generator().manual_seed(3)
    found = []
    for _ in range(6):
        mixed = train.labels[torch.randperm(300, generator=rng)]
        found.append(accuracy(finetune(min_steps=60), ToyInputs(train.inputs, mixed), test))
    assert abs(sum(found) / len(found) - 0.5) < 0.08


def test_test_labels_only_score():
    train, test = products(300, 1), products(200, 2)
    protocol = finetune(min_steps=40)
    (said,) = protocol.predict(train, Blind(test), seed=5).values
    for truth in (test.labels, 1 - test.labels):
        asked = ToyInputs(test.inputs, truth)
        candidate = Candidate(name="a", train=(train,), test=(asked,))
        (row,) = compare([candidate], {"finetune": protocol}, seed=5).rows
        assert row.score.value == pytest.approx((said == truth).double().mean().item())
        assert row.details[0]["steps"] == 40


def test_draws_come_from_the_seed_alone_and_leave_torch_as_it_was():
    train, test = products(120, 1), Blind(products(300, 2))
    protocol = finetune(min_steps=20, mixup=0.8, drop_path=0.2)
    torch.manual_seed(7)
    before = torch.get_rng_state()
    first = protocol.predict(train, test, seed=0)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(8)
    second, other = protocol.predict(train, test, seed=0), protocol.predict(train, test, seed=1)
    assert torch.equal(first.values, second.values)
    assert first.details == second.details
    assert first.details["loss"] != other.details["loss"]
    assert not torch.equal(first.values, other.values)


def test_drop_path_is_set_in_the_network_and_acts():
    train, test = products(100, 1), Blind(products(10, 2))
    losses = set()
    for rate in (None, 0.5):
        losses.add(finetune(min_steps=5, drop_path=rate).predict(train, test, 0).details["loss"])
    assert len(losses) == 2
    last = [part.backbone.encoder.blocks[-1].drop_path.rate for part in train.handed_out]
    assert last == [0.0, 0.5]


# --- layers ----------------------------------------------------------------------------------


def expected_layer(name: str) -> int:
    if name.startswith("backbone.tokenizer."):
        return 0
    if name.startswith("backbone.encoder.blocks."):
        return int(name.split(".")[3]) + 1
    assert name in ("weight", "bias", "backbone.encoder.norm.weight", "backbone.encoder.norm.bias")
    return DEPTH + 1


def test_every_parameter_has_the_rate_of_its_layer():
    backbone = make_backbone((4, 8))
    model = Classifier(Network(torch.nn.Identity(), backbone), 3)
    found = groups(model, backbone, 0.75)
    named = [name for group in found for name in group.parameters]
    assert sorted(named) == sorted(name for name, _ in model.named_parameters())
    for group in found:
        for name, parameter in group.parameters.items():
            assert group.layer == expected_layer(name)
            assert group.scale == pytest.approx(0.75 ** (DEPTH + 1 - expected_layer(name)))
            assert group.decayed == (parameter.ndim > 1)
        settings = group.settings(0.05)
        assert settings["weight_decay"] == (0.05 if group.decayed else 0.0)


def test_what_stands_before_and_after_the_blocks():
    backbone = make_backbone((4, 8))
    backbone.encoder.start = torch.nn.Parameter(torch.zeros(3))
    backbone.encoder.tail = torch.nn.Linear(2, 2)
    layers = layers_of(backbone)
    assert layers["encoder.start"] == 0
    assert layers["encoder.tail.weight"] == layers["encoder.tail.bias"] == DEPTH + 1
    backbone.encoder.trunk = backbone.encoder.blocks
    del backbone.encoder.blocks
    assert set(layers_of(backbone).values()) == {DEPTH + 1}


def test_weights_move_by_the_rate_of_their_layer():
    """AdamW's step has a size of its own. The head starts at 0, so the encoder's first gradient is
    0 and its second step is its first: (1 - b1) / (1 - b1^2) / sqrt((1 - b2) / (1 - b2^2))."""
    train = products(64, 1)
    settings = {"min_steps": 2, "weight_decay": 0.0, "layer_decay": 0.5, "warmup_epochs": 0.0}
    protocol = finetune(**settings)
    protocol.predict(train, Blind(products(4, 2)), seed=0)
    before = dict(make_backbone((4, 8)).named_parameters())
    moved = dict.fromkeys(range(DEPTH + 2), 0.0)
    for name, after in train.handed_out[0].backbone.named_parameters():
        most = (after - before[name]).abs().max().item()
        layer = expected_layer(f"backbone.{name}")
        moved[layer] = max(moved[layer], most)
    size = 0.1 / (1 - 0.9**2) / math.sqrt(0.001 / (1 - 0.999**2))
    rate = LEARNS["lr"] * 64 / 256 * 0.5  # half way down the cosine
    for layer, most in moved.items():
        assert most == pytest.approx(size * rate * 0.5 ** (DEPTH + 1 - layer), rel=0.01)


def test_the_course():
    config = FinetuneConfig(epochs=10, warmup_epochs=2, batch=32, lr=1e-3, min_steps=20)
    course = Course.of(config, samples=100)
    assert (course.steps, course.batch, course.warmup) == (32, 32, 6)
    assert course.lr == pytest.approx(1e-3 * 32 / 256)
    rates = [course.rate(step) / course.lr for step in range(course.steps)]
    assert rates[:7] == pytest.approx([1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6, 1, 1])
    assert rates[6:] == pytest.approx([(1 + math.cos(math.pi * k / 26)) / 2 for k in range(26)])
    few = Course.of(config, samples=8)
    assert (few.steps, few.batch, few.warmup, few.lr) == (20, 8, 4, course.lr)


# --- the loss --------------------------------------------------------------------------------


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_is_smoothed_cross_entropy(smoothing):
    samples = products(32, 1)
    model = Classifier(samples.network(), 3)
    torch.nn.init.normal_(model.weight, generator=torch.Generator().manual_seed(0))
    batch = Batch(samples.inputs, samples.labels)
    protocol = finetune(label_smoothing=smoothing)
    logs = F.log_softmax(model(samples.inputs), 1)
    wanted = (1 - smoothing) * F.one_hot(samples.labels, 3) + smoothing / 3
    torch.testing.assert_close(protocol._loss(model, batch, None), -(wanted * logs).sum(1).mean())

    def halves(inputs, labels):  # a mixture whose answer is known
        return inputs.flip(0), torch.full((len(labels), 3), 1 / 3)

    mixed = protocol._loss(model, batch, halves)
    torch.testing.assert_close(mixed, -logs.mean())  # a mean over the batch: flipping is no matter


def test_a_loss_that_is_not_finite_stops_it():
    train = products(64, 1)
    train.inputs[3] = math.inf
    with pytest.raises(TrainingError, match=r"finetune: .*loss of step 1 of 150.*lower lr"):
        finetune().predict(train, Blind(products(4, 2)), seed=0)
    test = products(4, 2)
    test.inputs[1] = math.nan
    with pytest.raises(TrainingError, match="finetune: not finite: predictions"):
        finetune(min_steps=2).predict(products(64, 1), Blind(test), seed=0)


# --- what does not fit -----------------------------------------------------------------------


def test_settings_that_do_not_fit_are_named():
    train, test = products(20, 1), Blind(products(4, 2))
    stubborn = ToyInputs(train.inputs, train.labels, knows_drop_path=False)
    finetune(min_steps=2).predict(stubborn, test, 0)
    with pytest.raises(ConfigError, match=r"drop_path: found 0.1, but .*unknown key.*null leaves"):
        finetune(drop_path=0.1).predict(stubborn, test, 0)
    with pytest.raises(ConfigError, match=r"cutmix: found inputs of shape \(4, 8\).*two axes"):
        finetune(cutmix=1.0).predict(train, test, 0)
    with pytest.raises(ConfigError, match="warmup_epochs: found 5, allowed: less than the 5 of"):
        finetune(epochs=5, warmup_epochs=5)
    for name, wrong in [
        ("layer_decay", 0),
        ("label_smoothing", 1),
        ("drop_path", 1),
        ("mixup", -1),
    ]:
        with pytest.raises(ConfigError, match=f"{name}: found {wrong}"):
            finetune(**{name: wrong})


def test_raw_samples_get_logistic_regression():
    train, test = blobs(200, 1), blobs(100, 2)
    said = finetune().predict(train, Blind(test), seed=0)
    plain = Logistic(Logistic.Config()).predict(train, Blind(test), seed=0)
    assert torch.equal(said.values, plain.values)
    assert said.details == {"fitted": "logistic regression on the raw content", **plain.details}


def test_the_candidates_of_a_run_stay_as_they_are(run_folder):
    frozen = load_backbone(run_folder)
    splits = labelled_splits(frozen.config, frozen.modality)
    path = find_checkpoint(run_folder).path
    cpu = torch.device("cpu")

    def fresh():
        return candidates(frozen, path, splits, cpu, train_samples=40, test_samples=30)

    known = {c.name: c.train[0].pooled().clone() for c in fresh()}
    protocol = finetune(min_steps=6, batch=16, drop_path=0.1, mixup=0.2, cutmix=1.0)
    found = compare(fresh(), {"finetune": protocol}, seed=0)
    assert [row.details[0].get("steps") for row in found.rows] == [6, 6, None]
    assert all(math.isfinite(row.details[0]["loss"]) for row in found.rows[:2])
    for candidate in fresh():
        assert torch.equal(candidate.train[0].pooled(), known[candidate.name])
    weights = load_backbone(run_folder).backbone.state_dict()
    assert all(torch.equal(w, weights[name]) for name, w in frozen.backbone.state_dict().items())


def test_configs_come_back_from_their_plain_form():
    config = FinetuneConfig(mixup=0.8)
    assert structure(attrs.asdict(config), FinetuneConfig) == config
