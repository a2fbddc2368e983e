"""What sheets look at, of a tiny network that was never trained."""

import pytest
import torch

from jepa.core.build import build
from jepa.core.interfaces import no_grad_eval
from jepa.evaluation.seeing.subject import make_subject


@pytest.fixture(scope="session")
def built(config):
    made = build(config)
    no_grad_eval(made.model)
    return made


@pytest.fixture(scope="session")
def subject(config, built):
    return make_subject(config, built, torch.device("cpu"), samples=3, seed=0)
