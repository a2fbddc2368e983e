"""Regularizers: their formulas, what they call good and bad, and runs that do not collapse."""

import math

import numpy as np
import pytest
import torch

from jepa.plugins.regularizers.rows import rows_of
from jepa.plugins.regularizers.sigreg import SigReg, epps_pulley
from jepa.plugins.regularizers.vicreg import VicReg, variance_covariance

N, D = 512, 8


def randn(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


def whitened(n=N, d=D):
    """Rows of mean 0 and covariance 1 exactly."""
    q, _ = torch.linalg.qr(randn(n, d) - randn(n, d).mean(0))
    q = q - q.mean(0)
    q, _ = torch.linalg.qr(q)
    return q * math.sqrt(n - 1)


def as_context(rows):
    """Rows [n, d] as the context of n samples of one token."""
    return [rows[:, None]]


def of(cls, context, seed=0, predictions=(), **settings):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return cls(cls.Config(**settings), dim=D)(list(predictions), [], context)


def sigreg(rows, **settings):
    return float(of(SigReg, as_context(rows), weight=1.0, **settings).total)


# --- which rows ---------------------------------------------------------------------------------


def test_rows_are_tokens_or_the_mean_tokens_of_samples():
    predictions, context = [randn(2, 3, 4, 5)], [randn(2, 7, 6), randn(2, 3, 6)]
    tokens = rows_of(predictions, context, "context", "tokens")
    assert [tuple(rows.shape) for rows in tokens] == [(14, 6), (6, 6)]
    assert torch.equal(tokens[0][9], context[0][1, 2])
    (pooled,) = rows_of(predictions, context, "predictions", "samples")
    torch.testing.assert_close(pooled[1], predictions[0][1].mean(dim=(0, 1)))
    (fine,) = rows_of([], [context[0].bfloat16()], "context", "samples")
    assert fine.dtype == torch.float32


# --- variance and covariance --------------------------------------------------------------------


def plain_vicreg(rows, gamma):
    """The paper's formulas, one number at a time."""
    columns = rows.T.tolist()
    n, d = rows.shape
    centred = [[x - sum(column) / n for x in column] for column in columns]

    def cov(i, j):
        return sum(a * b for a, b in zip(centred[i], centred[j], strict=True)) / (n - 1)

    hinges = [max(0.0, gamma - math.sqrt(cov(j, j) + 1e-4)) for j in range(d)]
    off = sum(cov(i, j) ** 2 for i in range(d) for j in range(d) if i != j)
    return sum(hinges) / d, off / d


@pytest.mark.parametrize("gamma", [0.5, 1.0, 3.0])
def test_vicreg_is_the_formula(gamma):
    rows = randn(17, 5) @ randn(5, 5, seed=1)
    found = variance_covariance(rows, gamma)
    wanted = plain_vicreg(rows, gamma)
    assert [float(x) for x in found] == pytest.approx(wanted, rel=1e-9)


def test_vicreg_weighs_its_terms_and_averages_views():
    views = [randn(9, 4, D), 0.1 * randn(9, 2, D, seed=1)]
    settings = {"variance": 3.0, "covariance": 0.7, "over": "samples"}
    found = of(VicReg, views, **settings)
    terms = [plain_vicreg(view.mean(dim=1), 1.0) for view in views]
    variance, covariance = (sum(term) / 2 for term in zip(*terms, strict=True))
    assert float(found.parts["variance"]) == pytest.approx(variance)
    assert float(found.parts["covariance"]) == pytest.approx(covariance)
    assert float(found.total) == pytest.approx(3 * variance + 0.7 * covariance)


def test_vicreg_is_zero_for_whitened_features_and_large_for_collapsed_ones():
    assert float(of(VicReg, as_context(whitened())).total) == pytest.approx(0, abs=1e-9)
    point = of(VicReg, as_context(torch.ones(N, D).double()))
    assert float(point.parts["variance"]) == pytest.approx(1 - 0.01)
    assert float(point.parts["covariance"]) == 0
    line = of(VicReg, as_context(2 * randn(N, 1).expand(N, D)))
    assert float(line.parts["variance"]) == 0
    assert float(line.parts["covariance"]) > 10 * D / 4


def test_vicreg_of_one_sample_is_finite():
    assert torch.isfinite(of(VicReg, [randn(1, 4, D)]).total)


# --- sketched isotropic Gaussian ----------------------------------------------------------------


@pytest.mark.parametrize(("points", "limit"), [(3, 2.0), (17, 5.0), (41, 4.0)])
def test_the_statistic_is_the_integral_of_characteristic_functions(points, limit):
    projected = randn(23, 3) * 1.3 + 0.2
    t = np.linspace(-limit, limit, points)
    for column, found in zip(projected.T.numpy(), epps_pulley(projected, points, limit),
                             strict=True):  # fmt: skip
        empirical = np.exp(1j * np.outer(column, t)).mean(axis=0)
        weight = np.exp(-0.5 * t**2)
        wanted = np.trapezoid(np.abs(empirical - weight) ** 2 * weight, t)
        assert float(found) == pytest.approx(wanted, rel=1e-9)


def test_the_quadrature_is_close_to_the_closed_form():
    """Epps and Pulley's statistic of a Gaussian kernel has a closed form over the whole line."""
    x = randn(200).numpy() * 1.4 + 0.3
    pairs = np.exp(-0.5 * (x[:, None] - x[None]) ** 2).mean()
    wanted = math.sqrt(2 * math.pi) * (
        pairs - 2 / math.sqrt(2) * np.exp(-(x**2) / 4).mean() + 1 / math.sqrt(3)
    )
    found = epps_pulley(torch.from_numpy(x)[:, None], 17, 5.0)
    assert float(found) == pytest.approx(wanted, rel=1e-3)


def test_sigreg_is_least_for_an_isotropic_gaussian():
    n, d = 1000, 6
    gaussian = randn(n, d)
    uniform = torch.from_numpy(np.random.default_rng(1).uniform(-1, 1, (n, d))) * math.sqrt(3)
    ball = gaussian / gaussian.norm(dim=1, keepdim=True) * math.sqrt(d)
    stretched = gaussian * torch.tensor([3.0, 1, 1, 1, 1, 1 / 3]).double()
    worse = {
        "collapsed": torch.zeros(n, d).double(),
        "on a line": gaussian[:, :1].expand(n, d),
        "twice as wide": 2 * gaussian,
        "half as wide": gaussian / 2,
        "off centre": gaussian + 0.5,
        "stretched": stretched,
        "two heaps": torch.cat([gaussian[:500] / 3 + 1, gaussian[500:] / 3 - 1]),
    }
    # Of a true Gaussian the expectation is the integral of (1 - exp(-t^2)) exp(-t^2 / 2).
    expected = math.sqrt(2 * math.pi) * (1 - 1 / math.sqrt(3))
    best = sigreg(gaussian, slices=128)
    assert best == pytest.approx(expected, rel=0.2)
    for name, rows in worse.items():
        assert sigreg(rows, slices=128) > 4 * best, name
    # A cube and a sphere project to nearly Gaussian marginals: they are told apart all the same.
    for rows in (uniform, ball):
        assert sigreg(rows, slices=128) > 1.2 * best


def test_sigreg_counts_samples_and_draws_anew():
    rows = randn(64, D)
    one, other = (
        sigreg(
            rows,
            slices=4,
        ),
        of(SigReg, as_context(rows), seed=1, slices=4),
    )
    assert one != pytest.approx(float(other.parts["statistic"]), rel=1e-3)
    alone = of(SigReg, as_context(rows))
    assert float(alone.total) == pytest.approx(0.05 * float(alone.parts["statistic"]))
    # Twice the tokens, the same samples: the same number.
    twice = of(SigReg, [rows[:, None].expand(-1, 2, -1)], over="tokens")
    torch.testing.assert_close(twice.total, of(SigReg, as_context(rows), over="tokens").total)
    with pytest.raises(ValueError, match="an odd number"):
        SigReg.Config(points=16)


# --- both ---------------------------------------------------------------------------------------

each = pytest.mark.parametrize("cls", [VicReg, SigReg])


@each
@pytest.mark.parametrize("over", ["samples", "tokens"])
def test_the_order_of_samples_does_not_matter(cls, over):
    context = [randn(16, 5, D)]
    shuffled = [context[0][np.random.default_rng(3).permutation(16)]]
    torch.testing.assert_close(
        of(cls, context, over=over).total, of(cls, shuffled, over=over).total
    )


@each
@pytest.mark.parametrize("over", ["samples", "tokens"])
def test_gradients_are_the_slopes(cls, over):
    context = (0.5 * randn(6, 3, 4)).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda c: of(cls, [c], over=over).total, (context,), fast_mode=True
    )


@each
def test_predictions_may_be_meant(cls):
    predictions = [randn(9, 2, 4, D)]
    found = of(cls, [randn(9, 3, 5)], predictions=predictions, of="predictions")
    torch.testing.assert_close(found.total, of(cls, [predictions[0].flatten(1, 2)]).total)


@each
def test_collapse_has_a_way_out(cls):
    """Features that nearly coincide spread under the regularizer alone."""
    context = (0.3 * randn(64, 1, D)).requires_grad_()
    settings = {"slices": 32} if cls is SigReg else {}
    adam = torch.optim.Adam([context], lr=0.05)
    for step in range(150):
        adam.zero_grad()
        of(cls, [context], seed=step, **settings).total.backward()
        adam.step()
    covariance = torch.cov(context.detach()[:, 0].T)
    assert float(covariance.diagonal().min()) > 0.8
    assert float((covariance - covariance.diagonal().diag()).abs().max()) < 0.3
    if cls is SigReg:
        assert float(covariance.diagonal().max()) < 1.3


@each
def test_statistics_are_not_rounded_under_autocast(cls):
    context = [randn(32, 2, D).float()]
    exact = of(cls, context).total
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(of(cls, context).total, exact)
