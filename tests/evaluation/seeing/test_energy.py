import numpy as np
import torch

from jepa.evaluation.seeing.drawing import said
from jepa.evaluation.seeing.energy import energy, energy_sheet
from jepa.evaluation.seeing.hidden import block_sides, normalised_targets, predictions, tiles


def test_every_token_has_the_mean_error_of_its_blocks(subject):
    found = energy(subject)
    assert found.shape == (3, 49)
    truth, bank = normalised_targets(subject)
    blocks = tiles(subject.grid, block_sides(subject.built.samplers[0], subject.grid, 0))
    rows = bank.flatten(0, 1).double()
    variance = ((rows - rows.mean(0)) ** 2).mean()
    for token in (0, 24, 48):
        errors = []
        for block in blocks:
            if token in block.tolist():
                predicted = predictions(subject, subject.shown.loaded, block.expand(3, -1))
                where = block.tolist().index(token)
                errors.append(((predicted[:, where] - truth[:, token]) ** 2).mean(1))
        assert errors
        expected = torch.stack(errors).mean(0) / variance
        torch.testing.assert_close(found[:, token], expected.float(), atol=1e-5, rtol=1e-4)


def test_a_predictor_that_answers_with_the_average_has_about_one(subject, monkeypatch):
    def average(model, prepared, hidden):
        return torch.zeros(*hidden.shape, model.target.dim)  # targets are normalised by batch

    monkeypatch.setattr("jepa.evaluation.seeing.hidden.predict", average)
    truth, _ = normalised_targets(subject)
    expected = truth.square().mean(-1)
    torch.testing.assert_close(energy(subject), expected, atol=1e-3, rtol=1e-2)
    assert 0.5 < float(energy(subject).mean()) < 2


def test_the_sheet_shows_inputs_with_their_worst_places_and_errors(subject):
    figure = energy_sheet(subject)
    assert [axis.get_ylabel() for axis in figure.axes][:6:3] == ["input", "error"]
    heat = [i for axis in figure.axes for i in axis.images if i.get_array().shape == (7, 7)]
    assert len(heat) == 3
    assert len({drawn.get_clim() for drawn in heat}) == 1
    values = energy(subject)
    assert torch.allclose(torch.as_tensor(heat[0].get_array().data), values[0].reshape(7, 7))
    sides = " x ".join(map(str, block_sides(subject.built.samplers[0], subject.grid, 0)))
    assert f"blocks of {sides} places of 7 x 7" in said(figure)[1]
    # The very worst place is at one side of a frame.
    place, token = divmod(int(values.argmax()), 49)
    row, col = divmod(token, 7)
    corners = np.concatenate(figure.axes[place].collections[0].get_segments()).tolist()
    assert [col, row] in corners or [col + 1, row + 1] in corners
    counted = sum(bool(axis.collections) for axis in figure.axes[:3])
    assert counted, "8 of 147 places are outlined"


def test_the_bar_says_what_is_off_the_scale(subject, monkeypatch):
    errors = torch.linspace(0, 3, 147).reshape(3, 49)
    for made, says in ((errors, True), (errors / 4, False)):
        monkeypatch.setattr("jepa.evaluation.seeing.energy.energy", lambda _, made=made: made)
        label = energy_sheet(subject).axes[-1].get_ylabel()
        assert ("or more" in label) == says
