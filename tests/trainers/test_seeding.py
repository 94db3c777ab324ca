import random

import numpy as np
import pytest
import torch

from msam_nn.errors import UserError
from msam_nn.trainers import budgets
from msam_nn.trainers.seeding import SEED_VARIABLE, seed_training


def drawn():
    return random.random(), np.random.rand(), torch.rand(1).item()


def test_a_seed_seeds_all_three_and_ranks_differ(monkeypatch):
    monkeypatch.setenv(SEED_VARIABLE, "3")
    assert seed_training() == 3
    first = drawn()
    seed_training()
    assert drawn() == first
    seed_training(rank=1)
    assert all(a != b for a, b in zip(drawn(), first, strict=True))


def test_without_the_variable_nothing_is_touched(monkeypatch):
    monkeypatch.delenv(SEED_VARIABLE, raising=False)
    state = torch.get_rng_state()
    assert seed_training() is None and torch.equal(torch.get_rng_state(), state)


def test_no_number_is_one_sentence(monkeypatch):
    monkeypatch.setenv(SEED_VARIABLE, "-1")
    with pytest.raises(UserError, match="MSAM_NN_SEED has to be a whole number from 0 on, not -1"):
        seed_training()


def test_a_stock_trainer_with_a_budget_starts_from_the_seed(phantom_plans, tmp_path, monkeypatch):
    """Two trainings have the same weights before their first step; another seed has others."""
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    monkeypatch.setenv("nnUNet_results", str(tmp_path))
    monkeypatch.setattr(nnUNetTrainer, "run_training", lambda self: self.initialize())

    def weights(seed):
        monkeypatch.setenv(SEED_VARIABLE, seed)
        plans = {**phantom_plans[0], "continue_training": False}
        made = budgets.MSAMTrainer_3epochs(plans, "3d_fullres", 0, phantom_plans[1], torch.device("cpu"))
        made.run_training()
        return torch.cat([p.flatten() for p in made.network.parameters()])

    assert torch.equal(weights("1"), weights("1")) and not torch.equal(weights("1"), weights("2"))
