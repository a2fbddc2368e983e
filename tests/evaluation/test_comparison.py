"""The comparison adds up, and protocols do not see what they are asked to predict."""

import io
from itertools import pairwise

import attrs
import pytest
import torch
from rich.console import Console
from toy_samples import ToySamples

from jepa.core.errors import DataError, PluginError
from jepa.core.probing import Predictions, Protocol, Samples
from jepa.evaluation.comparison import Candidate, compare
from jepa.evaluation.comparison_table import TABLE_WIDTH, table
from jepa.evaluation.knn import Knn
from jepa.evaluation.linear import Linear
from jepa.evaluation.logistic import Logistic
from jepa.evaluation.samples import Blind

PROTOCOLS = {"k-NN": Knn(Knn.Config()), "logistic": Logistic(Logistic.Config())}


def blobs(n: int, seed: int, signal: float) -> ToySamples:
    rng = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 4
    features = torch.randn(n, 8, generator=rng)
    features[torch.arange(n), labels] += signal
    return ToySamples(features, labels, 7, quantities={"weight": 10.0 * features[:, 0]})


def candidate(name: str, *signals: float) -> Candidate:
    train = tuple(blobs(400, i, signal) for i, signal in enumerate(signals))
    test = tuple(blobs(300, 10 + i, signal) for i, signal in enumerate(signals))
    return Candidate(name=name, train=train, test=test)


def text_of(comparison) -> str:
    console = Console(width=TABLE_WIDTH, record=True, file=io.StringIO())
    console.print(table(comparison))
    return console.export_text()


def test_rows_add_up():
    found = compare([candidate("a", 3.0), candidate("b", 1.0, 1.2), candidate("c", 0.0)], PROTOCOLS)
    assert [(row.protocol, row.features) for row in found.rows] == [
        (protocol, name) for protocol in ("k-NN", "logistic") for name in "abc"
    ]
    assert (found.train_samples, found.test_samples, found.classes) == (400, 300, 7)
    for place, row in enumerate(found.rows):
        assert row.score.low < row.score.value < row.score.high
        assert (row.metric, row.repetitions, row.spread) == ("accuracy", 1, None)
        if row.features == "a":
            assert row.trained_minus_this is None
            continue
        a = found.rows[place // 3 * 3]
        difference = row.trained_minus_this
        assert difference.value == pytest.approx(a.score.value - row.score.value)
        assert 0 < difference.low < difference.value < difference.high
    assert found.rows[1].sets == len(found.rows[1].details) == 2
    assert abs(found.rows[2].score.value - 0.25) < 0.1


def test_the_table_fits_its_width_and_says_the_numbers():
    found = compare([candidate("trained", 2.0), candidate("random init", 1.0, 1.1)], PROTOCOLS)
    text = text_of(found)
    for row in found.rows:
        assert f"{100 * row.score.value:.1f}%" in text
    assert "random init (2 seeds)" in text
    assert "…" not in text


class Repeated(Protocol):
    """Right on the first half, then on the second, as several draws would be."""

    def predict(self, train: Samples, test: Samples, seed: int) -> Predictions:
        features = test.pooled()
        truth = features.argmax(1) * 0 + torch.arange(len(features)) % 4
        first = torch.arange(len(features)) < 75
        return Predictions(values=torch.stack([torch.where(first, truth, 9), truth]))


def test_repetitions_are_averaged_and_their_spread_told():
    found = compare([candidate("a", 1.0)], {"draws": Repeated()})
    (row,) = found.rows
    assert row.score.value == pytest.approx((0.25 + 1) / 2)
    assert row.repetitions == 2
    assert row.spread == pytest.approx(torch.tensor([0.25, 1.0]).std().item())
    assert "mean of 2 draws" in text_of(found)


class Off(Protocol):
    """Predicts a quantity, always 2 too much."""

    def predict(self, train: Samples, test: Samples, seed: int) -> Predictions:
        truth = 10.0 * test.pooled()[:, 0].double()
        return Predictions(values=truth[None] + 2, quantity="weight")


def test_a_quantity_is_scored_by_its_error():
    found = compare([candidate("a", 1.0), candidate("b", 1.0)], {"off": Off()})
    row = found.rows[0]
    assert row.metric == "mean absolute error of weight"
    assert row.score.value == pytest.approx(2.0, abs=1e-4)
    truth = candidate("a", 1.0).test[0].quantity("weight")
    assert row.details[0]["r2"] == pytest.approx(1 - 4 / truth.var(correction=0).item(), rel=1e-3)
    text = text_of(found)
    assert "less is better" in text
    assert "2.000" in text


# --- samples that are parts of one --------------------------------------------------------------


def in_parts(n: int, seed: int, parts: int) -> ToySamples:
    """Samples of so many parts each; a part alone tells little of the class."""
    rng = torch.Generator().manual_seed(seed)
    whole = torch.arange(n * parts) % n
    labels = whole % 4
    features = torch.randn(n * parts, 8, generator=rng)
    features[torch.arange(n * parts), labels] += 1.0
    quantities = {"weight": whole.double()}
    return ToySamples(features, labels, 4, quantities=quantities, wholes=3 * whole + 1)


@pytest.mark.parametrize("protocol", [*PROTOCOLS.values(), Linear(Linear.Config(epochs=5))])
def test_a_whole_is_scored_once_by_all_its_parts(protocol):
    train, test = in_parts(200, 1, 1), in_parts(120, 2, 9)
    alone = ToySamples(test.tokens()[:, 0], test.labels, 4)
    scored = [
        compare([Candidate(name="a", train=(train,), test=(samples,))], {"p": protocol})
        for samples in (test, alone)
    ]
    assert [(each.test_samples, each.test_parts) for each in scored] == [(120, 1080), (1080, 1080)]
    assert (scored[0].train_samples, scored[0].train_parts) == (200, 200)
    together, apart = (each.rows[0].score for each in scored)
    assert together.value > apart.value + 0.2
    assert together.value * 120 % 1 == pytest.approx(0, abs=1e-6)
    assert together.high - together.low > apart.high - apart.low, "120 are fewer than 1,080"
    text = " ".join(text_of(scored[0]).split())
    assert "Accuracy on 120 test samples (1,080 parts, averaged) of 4 classes" in text
    assert "Accuracy on 1,080 test samples of 4 classes" in " ".join(text_of(scored[1]).split())


def test_a_class_is_decided_by_the_mean():
    labels, wholes = torch.zeros(5, dtype=torch.int64), torch.tensor([8, 2, 8, 2, 8])
    samples = ToySamples(torch.zeros(5, 3), labels, 2, wholes=wholes)
    found = torch.tensor([[0.9, 0.1], [0.4, 0.6], [0.4, 0.6], [0.3, 0.7], [0.4, 0.6]])
    assert samples.decide(found).tolist() == [0, 1, 0, 1, 0]
    assert Blind(samples).decide(found).tolist() == [0, 1, 0, 1, 0]
    assert samples.take(torch.tensor([2, 1])).decide(found[[2, 1]]).tolist() == [1, 1]


@pytest.mark.parametrize("shape", [(5,), (4, 2), (1, 5, 2)])
def test_probabilities_of_another_shape_are_refused(shape):
    samples = ToySamples(torch.zeros(5, 3), torch.zeros(5, dtype=torch.int64), 2)
    with pytest.raises(PluginError, match=r"decide: found .*, allowed: \[5, classes\]"):
        samples.decide(torch.zeros(shape))


def test_a_protocol_that_does_not_decide_is_scored_by_its_parts():
    test = in_parts(12, 0, 4)
    right = torch.arange(48) < 24  # half of the parts of each whole
    said = Curious(lambda asked: torch.where(right, torch.arange(48) % 12 % 4, 9)[None])
    (row,) = compare([Candidate(name="a", train=(test,), test=(test,))], {"p": said}).rows
    assert row.score.value == pytest.approx(0.5)


def test_a_quantity_of_a_whole_is_the_mean_over_its_parts():
    test = in_parts(12, 0, 4)
    off = torch.tensor([1.0, -1.0, 2.0, 0.0]).repeat_interleave(12).double()

    class Scattered(Protocol):
        def predict(self, train: Samples, test: Samples, seed: int) -> Predictions:
            whole = (torch.arange(48) % 12).double()
            return Predictions(values=(whole + off)[None], quantity="weight")

    (row,) = compare([Candidate(name="a", train=(test,), test=(test,))], {"p": Scattered()}).rows
    assert row.score.value == pytest.approx(0.5)


@pytest.mark.parametrize("shape", [(300,), (300, 1), (1, 299)])
def test_predictions_of_another_shape_are_refused(shape):
    odd = Curious(lambda test: torch.zeros(shape, dtype=torch.int64))
    with pytest.raises(PluginError, match=r"'odd' gave predictions of shape .*repetitions, 300\]"):
        compare([candidate("a", 1.0)], {"odd": odd})


class Curious(Protocol):
    """Looks where it must not."""

    def __init__(self, look) -> None:
        self.look = look

    def predict(self, train: Samples, test: Samples, seed: int) -> Predictions:
        return Predictions(values=self.look(test))


@pytest.mark.parametrize(
    "look",
    [
        lambda test: test.labels,
        lambda test: test.quantity("weight"),
        lambda test: test.take(torch.arange(3)).labels,
        lambda test: test.wholes,
        lambda test: test.groups,
    ],
)
def test_what_is_to_be_predicted_is_hidden(look):
    with pytest.raises(DataError, match="hidden from protocols"):
        compare([candidate("a", 1.0)], {"curious": Curious(look)})


def test_shuffled_test_labels_give_chance():
    honest = candidate("a", 3.0)
    (test,) = honest.test
    mixed = test.labels[torch.randperm(300, generator=torch.Generator().manual_seed(1))]
    fooled = attrs.evolve(honest, test=(ToySamples(test.tokens()[:, 0], mixed, 7),))
    for row in compare([fooled], PROTOCOLS).rows:
        assert abs(row.score.value - 0.25) < 0.1


def test_the_same_seed_gives_the_same_comparison():
    pair = [candidate("a", 2.0), candidate("b", 1.0)]
    one, other = compare(pair, PROTOCOLS, seed=3), compare(pair, PROTOCOLS, seed=3)
    assert one == other
    intervals = [row.trained_minus_this for row in one.rows if row.trained_minus_this]
    again = [row.trained_minus_this for row in compare(pair, PROTOCOLS, seed=4).rows]
    assert all(found not in again for found, _ in pairwise([*intervals, None]))
