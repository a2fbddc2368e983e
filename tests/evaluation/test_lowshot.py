"""Few labels: fair draws, the same for all candidates, and any protocol on them."""

import pytest
import torch
from toy_network import products
from toy_samples import ToySamples, blobs, shuffled

from jepa.core.errors import ConfigError, DataError
from jepa.core.probing import Predictions, Protocol
from jepa.core.settings import structure, unstructure
from jepa.evaluation.candidates import candidates, labelled_splits
from jepa.evaluation.comparison import Candidate, compare
from jepa.evaluation.knn import Knn
from jepa.evaluation.loading import find_checkpoint, load_backbone
from jepa.evaluation.logistic import Logistic
from jepa.evaluation.lowshot import LowShot, LowShotConfig, draw_samples
from jepa.evaluation.samples import Blind


class Recording(ToySamples):
    """Keeps which samples were taken of it."""

    def take(self, places):
        taken.append(places)
        return super().take(places)


taken: list[torch.Tensor] = []


@pytest.fixture(autouse=True)
def _nothing_taken():
    taken.clear()


def recording(samples: ToySamples) -> Recording:
    return Recording(samples.tokens(), samples.labels, len(samples.classes))


def labelled(*counts: int) -> Recording:
    """So many samples of each class, in a mixed order."""
    labels = torch.cat([torch.full((n,), place) for place, n in enumerate(counts)])
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(1))
    return Recording(torch.eye(len(counts))[labels[order]], labels[order], len(counts))


def lowshot(**settings) -> LowShot:
    return LowShot(structure(settings, LowShotConfig))


def counts(samples: ToySamples, places: torch.Tensor) -> list[int]:
    return torch.bincount(samples.labels[places], minlength=len(samples.classes)).tolist()


def test_parts_of_a_sample_are_one_label():
    """Of 40 films of three clips each, a tenth are four films with all their clips."""
    wholes = torch.arange(120) % 40
    films = Recording(torch.eye(2)[wholes % 2], wholes % 2, 2, wholes=wholes)
    said = lowshot(share=0.1, draws=3).predict(films, Blind(blobs(20, 2, classes=2, width=2)), 0)
    assert said.details["labels"] == 4
    assert len(taken) == 3
    for places in taken:
        assert torch.bincount(wholes[places]).unique().tolist() == [0, 3]
        assert counts(films, places) == [6, 6]
        assert (places.diff() > 0).all()


# --- which samples ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, [2, 1, 1, 3, 0]),  # 1%: a half goes up, and one at least where there is one
        ({"share": 0.01}, [2, 1, 1, 3, 0]),
        ({"share": 0.1}, [15, 14, 1, 25, 0]),
        ({"share": 1.0}, [150, 140, 7, 250, 0]),
    ],
)
def test_a_share_of_every_class(settings, expected):
    train = labelled(150, 140, 7, 250, 0)
    said = lowshot(probe="knn", draws=3, **settings).predict(
        train, Blind(labelled(2, 2, 2, 2, 2)), seed=0
    )
    assert [counts(train, places) for places in taken] == [expected] * 3
    assert said.details["labels"] == sum(expected)


def test_so_many_of_every_class():
    train = labelled(30, 20, 10)
    said = lowshot(per_class=4, draws=2).predict(train, Blind(labelled(1, 1, 1)), seed=0)
    assert [counts(train, places) for places in taken] == [[4, 4, 4]] * 2
    assert said.details["labels"] == 12
    assert not torch.equal(*taken)


def test_a_class_without_samples_has_no_say():
    samples = ToySamples(torch.randn(20, 4), torch.arange(20) % 2, classes=3)
    said = lowshot(probe="knn", per_class=4, draws=1).predict(samples, samples, 0)
    assert said.details["labels"] == 8


def test_all_candidates_get_the_same_draws_and_seeds_differ():
    one, other = recording(blobs(300, 1)), recording(blobs(300, 1))
    other._tokens = other._tokens.roll(1, 0) * 3
    test = Blind(blobs(20, 2))
    for train, seed in [(one, 0), (other, 0), (one, 1)]:
        lowshot(per_class=5, draws=2).predict(train, test, seed)
    ours, theirs, later = taken[:2], taken[2:4], taken[4:]
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    assert len({tuple(places.tolist()) for places in (*ours, *later)}) == 4


def test_draws_are_fair_and_independent():
    """Each sample of a class is drawn as often as another, also given an earlier draw."""
    labels = torch.tensor([0] * 10 + [1] * 40)[torch.randperm(50)]
    sizes, draws = torch.tensor([2, 8]), 2000
    drawn = torch.zeros(draws, 50)
    for number in range(draws):
        places = draw_samples(labels, sizes, 3, number)
        assert (places.diff() > 0).all()
        drawn[number, places] = 1
    # A share of 0.2 has a deviation of 0.009 over 2000 draws.
    assert (drawn.mean(0) - 0.2).abs().max() < 0.04
    both = (drawn[1:] * drawn[:-1]).mean(0)
    assert both.mean().item() == pytest.approx(0.04, abs=0.002)


# --- what is fitted --------------------------------------------------------------------------


@pytest.mark.parametrize("probe", [Knn, Logistic])
def test_a_draw_is_the_probe_on_that_draw(probe):
    train, test = recording(blobs(400, 1)), Blind(blobs(200, 2))
    name = probe.__name__.lower()
    said = lowshot(probe=name, per_class=6, draws=3).predict(train, test, seed=4)
    assert said.values.shape == (3, 200)
    drawn = list(taken)
    assert len(drawn) == 3
    for number, places in enumerate(drawn):
        plain = probe(probe.Config()).predict(train.take(places), test, seed=4 + number)
        assert torch.equal(said.values[number], plain.values[0])
    assert said.details["probe"] == name


def test_the_spread_is_over_draws():
    train, test = blobs(400, 1), blobs(300, 2)
    protocol = lowshot(per_class=2, draws=6)
    candidate = Candidate(name="a", train=(train,), test=(test,))
    (row,) = compare([candidate], {"lowshot": protocol}, seed=0).rows
    values = protocol.predict(train, Blind(test), seed=0).values
    by_draw = (values == test.labels).double().mean(1)
    assert row.repetitions == 6
    assert row.score.value == pytest.approx(by_draw.mean().item())
    assert row.spread == pytest.approx(by_draw.std().item())
    assert row.spread > 0


def test_more_labels_help_and_shuffled_ones_do_not():
    train, test = blobs(2000, 1), blobs(500, 2)

    def accuracy(samples, per_class):
        said = lowshot(per_class=per_class, draws=4).predict(samples, Blind(test), seed=0)
        return (said.values == test.labels).float().mean().item()

    assert accuracy(train, 50) > accuracy(train, 2) + 0.05
    assert abs(accuracy(shuffled(train), 50) - 0.2) < 0.08


def test_details_of_draws_that_differ_stand_side_by_side():
    said = lowshot(per_class=20, draws=4).predict(blobs(400, 1), Blind(blobs(20, 2)), seed=0)
    l2 = said.details["l2"]
    assert isinstance(l2, float) or len(l2.split(", ")) == 4


class Size(Protocol):
    """Says how many labels it got, and which, as a quantity."""

    def predict(self, train, test, seed):
        values = torch.full((1, len(test)), train.quantity("weight").sum().item()).double()
        return Predictions(values=values, quantity="weight", details={"seed": float(seed)})


def test_quantities_pass_through():
    """Of samples whose weights are powers of 2, a sum says which they were."""
    labels = torch.tensor([0, 1] * 8)
    train = ToySamples(torch.zeros(16, 1), labels, quantities={"weight": 2.0 ** torch.arange(16)})
    protocol = lowshot(per_class=3, draws=2)
    protocol._probe = Size()
    said = protocol.predict(train, Blind(train), seed=7)
    assert said.quantity == "weight"
    assert said.values.dtype == torch.float64
    sums = [int(row[0]) for row in said.values]
    assert [total.bit_count() for total in sums] == [6, 6]
    assert sums[0] != sums[1]
    assert said.details["seed"] == "7, 8"


def test_fine_tuning_on_few_labels():
    train, test = products(600, 1), products(200, 2)
    probe = {"name": "finetune", "lr": 0.01, "layer_decay": 1.0, "min_steps": 100}
    said = lowshot(probe=probe, per_class=40, draws=2).predict(train, Blind(test), seed=0)
    assert ((said.values == test.labels).double().mean(1) > 0.85).all()


def test_the_candidates_of_a_run(run_folder):
    frozen = load_backbone(run_folder)
    found = candidates(
        frozen,
        find_checkpoint(run_folder).path,
        labelled_splits(frozen.config, frozen.modality),
        torch.device("cpu"),
        train_samples=200,
        test_samples=30,
    )
    short = {"name": "finetune", "epochs": 1, "warmup_epochs": 0, "min_steps": 2}
    protocols = {
        "few": lowshot(per_class=3, draws=2),
        "tuned": lowshot(per_class=3, draws=2, probe=short),
    }
    rows = compare(found, protocols).rows
    assert [(row.protocol, row.features, row.repetitions) for row in rows] == [
        (protocol, candidate.name, 2) for protocol in protocols for candidate in found
    ]
    assert all(row.details[0]["labels"] == 30 for row in rows)
    assert [row.details[0].get("steps") for row in rows[3:]] == [2, 2, None]


# --- what does not fit -----------------------------------------------------------------------


def test_settings_that_clash_are_named():
    with pytest.raises(ConfigError, match=r"per_class: found 5 beside share = 0.1, allowed: one"):
        lowshot(share=0.1, per_class=5)
    with pytest.raises(ConfigError, match="probe: found 'lowshot', allowed: a protocol other"):
        lowshot(probe="lowshot")
    with pytest.raises(ConfigError, match=r"probe\.k: found 0"):
        lowshot(probe={"name": "knn", "k": 0})
    with pytest.raises(ConfigError, match=r"found 11, allowed: at most 10, .* the class '2'"):
        lowshot(per_class=11).predict(labelled(30, 20, 10), Blind(labelled(1, 1, 1)), 0)
    with pytest.raises(DataError, match="hidden"):
        lowshot().predict(Blind(labelled(30, 20, 10)), Blind(labelled(1, 1, 1)), 0)


def test_the_config_comes_back_from_its_plain_form():
    config = LowShotConfig(per_class=3)
    assert unstructure(config)["probe"]["name"] == "logistic"
    assert structure(unstructure(config), LowShotConfig) == config
