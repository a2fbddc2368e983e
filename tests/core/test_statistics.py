"""The measures against spectra whose answers are known."""

import math

import pytest
import torch

from jepa.core.statistics import feature_std, normalized_std, rank_me, spread_rows


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def with_spectrum(values: list[float], n: int = 64, dim: int = 16) -> torch.Tensor:
    left = torch.linalg.qr(drawn(n, dim).double())[0]
    right = torch.linalg.qr(drawn(dim, dim).double())[0]
    padded = torch.tensor(values + [0.0] * (dim - len(values)), dtype=torch.float64)
    return left * padded @ right.T


@pytest.mark.parametrize("rank", [1, 2, 7, 16])
def test_equal_singular_values_give_their_number(rank):
    assert rank_me(with_spectrum([3.0] * rank)).item() == pytest.approx(rank, rel=1e-5)


def test_spectrum_by_hand():
    shares = [0.5, 0.25, 0.125, 0.125]
    entropy = 1.75 * math.log(2)
    assert rank_me(with_spectrum(shares)).item() == pytest.approx(math.exp(entropy), rel=1e-5)


def test_wide_matrix_counts_rows():
    assert rank_me(with_spectrum([2.0] * 5).T).item() == pytest.approx(5, rel=1e-5)


def test_isotropic_features_come_near_their_width():
    assert 31 < rank_me(drawn(4000, 32)).item() <= 32


def test_equal_rows_give_one():
    assert rank_me(drawn(1, 768).expand(2048, -1)).item() == pytest.approx(1, abs=1e-3)


def test_rank_does_not_depend_on_scale():
    features = drawn(300, 24) * torch.linspace(0.1, 3, 24)
    assert rank_me(features * 1e4).item() == pytest.approx(rank_me(features).item(), rel=1e-5)


def test_rank_of_nothing_and_of_nan():
    assert rank_me(torch.zeros(8, 4)).item() == 0
    assert rank_me(torch.tensor([[1.0, math.nan]] * 4)).isnan()
    assert rank_me(torch.tensor([[1.0, math.inf]] * 4)).isnan()


def test_low_precision_is_lifted():
    assert rank_me(drawn(512, 16).bfloat16()).item() == pytest.approx(16, abs=0.5)
    assert feature_std(drawn(512, 16).bfloat16()).dtype == torch.float32


def test_feature_std_is_the_mean_over_features():
    features = torch.tensor([[0.0, 5.0], [2.0, 5.0]])
    assert feature_std(features).item() == 0.5


def test_normalized_std_between_collapse_and_freedom():
    free = drawn(2000, 64)
    one_way = (1 + free[:, :1].abs()) * drawn(1, 64)
    assert normalized_std(free).item() == pytest.approx(1, abs=0.02)
    assert normalized_std(one_way).item() == pytest.approx(0, abs=0.02)
    assert normalized_std(free * 100).item() == pytest.approx(normalized_std(free).item(), rel=1e-3)


def test_spread_rows_are_even_and_fixed():
    rows = torch.arange(10.0)[:, None]
    assert spread_rows(rows, 4).flatten().tolist() == [0, 2, 5, 7]
    assert spread_rows(rows, 10) is rows
