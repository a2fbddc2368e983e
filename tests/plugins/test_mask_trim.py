"""Trimming: the right number stays, and no place is favoured that the rule does not favour."""

import math
from collections import Counter

import numpy as np
import pytest

from jepa.core.grid import Grid
from jepa.plugins.masks.trim import Side, Start, Subset, Trim

GRID = Grid((4, 5), ("y", "x"))


def _uniforms(trim: Trim, rows: int) -> np.ndarray:
    return np.random.default_rng(7).random((rows, trim.draws))


@pytest.mark.parametrize("kind", [Subset, Side, Start])
@pytest.mark.parametrize(
    "grid", [Grid((9,), ("t",)), GRID, Grid((2, 3, 4), ("t", "y", "x"))], ids=str
)
def test_keeps_just_so_many_visible_places(kind, grid):
    trim = kind(grid)
    visible = np.random.default_rng(3).random((50, grid.size)) < 0.7
    shortest = int(visible.sum(axis=1).min())
    for keep in (1, shortest - 1, shortest):
        kept = trim(visible, _uniforms(trim, 50), keep)
        assert kept.shape == (50, keep)
        assert kept.dtype == np.int64
        assert (np.diff(kept, axis=1) > 0).all()
        assert np.take_along_axis(visible, kept, axis=1).all()


def test_every_subset_is_as_likely_as_any_other():
    trim = Subset(GRID)
    seen = [1, 4, 7, 11, 19]
    visible = np.zeros((6000, GRID.size), bool)
    visible[:, seen] = True
    counts = Counter(map(tuple, trim(visible, _uniforms(trim, 6000), 3).tolist()))
    expected = 6000 / math.comb(5, 3)
    assert len(counts) == math.comb(5, 3)
    chi_square = sum((n - expected) ** 2 / expected for n in counts.values())
    assert chi_square < 27.9  # 9 degrees of freedom, 0.1%


def test_side_starts_at_each_of_the_four_sides_as_often():
    trim = Side(GRID)
    whole = np.ones((4000, GRID.size), bool)
    counts = Counter(map(tuple, trim(whole, _uniforms(trim, 4000), 10).tolist()))
    places = np.arange(20).reshape(4, 5)
    top, bottom = places[:2], places[2:]
    left = [*places[:, :2].ravel(), *places[:2, 2]]
    right = [*places[:, 3:].ravel(), *places[2:, 2]]
    expected = {tuple(sorted(np.ravel(run).tolist())) for run in (top, bottom, left, right)}
    assert set(counts) == expected
    assert sum((n - 1000) ** 2 / 1000 for n in counts.values()) < 16.3  # 3 degrees, 0.1%


def test_side_counts_visible_places_only():
    visible = np.zeros((1, GRID.size), bool)
    visible[0, [2, 3, 9, 12, 18]] = True
    runs = [Side(GRID)(visible, np.array([[u]]), 2).tolist()[0] for u in (0.1, 0.3, 0.6, 0.9)]
    assert runs == [[2, 3], [2, 12], [12, 18], [9, 18]]


def test_start_throws_the_end_away():
    visible = np.ones((2, GRID.size), bool)
    visible[1, :3] = False
    assert Start(GRID)(visible, np.empty((2, 0)), 4).tolist() == [[0, 1, 2, 3], [3, 4, 5, 6]]
