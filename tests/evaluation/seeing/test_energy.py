import torch

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


def test_the_sheet_shows_inputs_errors_and_both(subject):
    figure = energy_sheet(subject)
    labels = [axis.get_ylabel() for axis in figure.axes]
    assert [name for name in ("input", "error", "error over input") if name in labels] == labels[
        :9:3
    ]
    heat = [i for axis in figure.axes for i in axis.images if i.get_array().shape == (7, 7)]
    assert len(heat) == 6
    assert len({drawn.get_clim() for drawn in heat}) == 1
    first = energy(subject)[0].reshape(7, 7)
    assert torch.allclose(torch.as_tensor(heat[0].get_array().data), first)
