"""The simulated user on a predictor that only remembers."""

from dataclasses import dataclass, field
from math import isnan
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from msam_nn.evaluation.clicks.whole_volume import WholeVolume
from msam_nn.prompts import click_of_largest_section

SHAPE = (4, 8, 8)


def mask(*boxes):
    result = np.zeros(SHAPE, bool)
    for box in boxes:
        result[box] = True
    return result


A, B = np.s_[1:3, 1:5, 1:5], np.s_[:, 6:8, 6:8]


def as_logits(*masks):
    """Background 0, then a logit per class."""
    return torch.stack([torch.zeros(SHAPE), *(torch.from_numpy(m).float() * 4 - 2 for m in masks)])


@dataclass
class Predictor:
    """Follows a click by setting its voxel."""

    automatic: torch.Tensor
    clicks: list = field(default_factory=list)
    started: list = field(default_factory=list)
    promptable = SimpleNamespace(background=True)
    configuration_manager = SimpleNamespace(spacing=(1, 1, 1))
    image: SimpleNamespace = field(default_factory=SimpleNamespace)

    def set_image(self, image, automatic=True):
        self.started.append(automatic)
        return self.reset()

    def reset(self):
        self.logits = self.automatic.clone()
        return self.logits

    def set_mask(self, index, mask):
        self.logits[index + 1] = mask * 4 - 2
        return self.logits.clone()

    def add_click(self, click):
        self.clicks.append(click)
        self.logits[(click.class_index + 1, *click.voxel)] = 5 if click.positive else -5
        return self.logits.clone()


@dataclass
class Case:
    targets: list
    valid: np.ndarray = field(default_factory=lambda: np.ones(SHAPE, bool))
    name: str = "case"
    image: torch.Tensor = None
    classes = (("a", 1), ("b", 2))

    def given_masks(self, predictor, folder):
        return [torch.from_numpy(mask(A)).float(), torch.from_numpy(mask()).float()]

    def measure(self, predictor, logits, tolerance_mm):
        predicted = [(logits[i + 1] > 0).numpy() for i in range(2)]
        return [{"label": "ab"[i], "wrong": int((predicted[i] ^ self.targets[i]).sum())} for i in range(2)]


def evaluate(predictor, case, **options):
    return list(WholeVolume(**options)(predictor, case))


def test_a_perfect_mask_needs_no_click():
    predictor, case = Predictor(as_logits(mask(A), mask(B))), Case([mask(A), mask(B)])
    rows = evaluate(predictor, case, n_clicks=range(3), strategies=["centre", "uniform"])
    assert predictor.clicks == []
    assert [isnan(row["seconds"]) for row in rows] == [False, False, True, True, True, True] * 2
    assert {row["wrong"] for row in rows} == {0}


def test_a_click_a_class_and_round_and_rows_where_asked():
    predictor, case = Predictor(as_logits(mask(), mask(A))), Case([mask(A), mask(B)])
    rows = evaluate(predictor, case, n_clicks=(0, 2))
    assert [(row["label"], row["clicks"]) for row in rows] == [("a", 0), ("b", 0), ("a", 2), ("b", 2)]
    assert [click.class_index for click in predictor.clicks] == [0, 1, 0, 1]
    # Class a is missed where class b is wrongly seen, and that piece is larger than what b lacks.
    assert predictor.clicks[0].positive and not predictor.clicks[1].positive
    assert rows[0]["wrong"] == 32 and rows[2]["wrong"] == 30


def clicks_of(strategy, n, seed):
    """Of a user who finds two empty masks."""
    predictor = Predictor(as_logits(mask(), mask()))
    evaluate(predictor, Case([mask(A), mask(B)]), n_clicks=(n,), strategies=[strategy], seeds=[seed])
    return predictor.clicks


def test_uniform_clicks_are_wrong_voxels_and_follow_the_seed():
    first = clicks_of("uniform", 5, 1)
    assert all((mask(A), mask(B))[click.class_index][click.voxel] and click.positive for click in first)
    assert first == clicks_of("uniform", 5, 1) != clicks_of("uniform", 5, 2)


def test_clicks_in_slices_are_in_the_middle_of_their_error_and_follow_the_seed():
    first = clicks_of("slice", 4, 1)
    assert first == clicks_of("slice", 4, 1) != clicks_of("slice", 4, 2)
    middles = [
        {click_of_largest_section(mask(), target, (1, 1, 1), axis)[0] for axis in range(3)}
        for target in (mask(A), mask(B))
    ]
    assert first[0].voxel in middles[0] and first[1].voxel in middles[1]


def test_every_run_starts_from_the_same_prediction():
    predictor, case = Predictor(as_logits(mask(), mask())), Case([mask(A), mask(B)])
    rows = evaluate(predictor, case, n_clicks=(0, 1), strategies=["uniform", "slice", "centre"], seeds=[0, 1])
    starts = [
        (row["strategy"], row["seed"], row["wrong"]) for row in rows if row["clicks"] == 0 and row["label"] == "a"
    ]
    assert starts == [("centre", 0, 32), *((name, seed, 32) for name in ("slice", "uniform") for seed in (0, 1))]
    assert predictor.started == [True]


@pytest.mark.parametrize("strategy", ["centre", "slice", "uniform"])
def test_ignored_voxels_are_not_clicked(strategy):
    predictor = Predictor(as_logits(mask(), mask()))
    evaluate(predictor, Case([mask(A), mask(B)], valid=~mask(A)), n_clicks=(3,), strategies=[strategy])
    assert {click.class_index for click in predictor.clicks} == {1}


@pytest.mark.parametrize("network_only", [True, False])
def test_corrections_are_left_out_where_asked(network_only):
    predictor = Predictor(as_logits(mask(), mask()))
    evaluate(predictor, Case([mask(A), mask(B)]), n_clicks=(1,), network_only=network_only)
    assert predictor.image.honours_clicks is not network_only
    assert ("network alone" in WholeVolume(network_only=network_only).name) is network_only


def test_an_empty_start_is_passed_on():
    predictor = Predictor(as_logits(mask(), mask()))
    evaluate(predictor, Case([mask(A), mask(B)]), n_clicks=(1,), start="empty")
    assert predictor.started == [False]


def test_every_run_starts_from_given_masks(tmp_path):
    predictor = Predictor(as_logits(mask(B), mask(B)))
    options = {"n_clicks": (0, 1), "strategies": ["centre", "uniform"], "start": tmp_path}
    rows = evaluate(predictor, Case([mask(A), mask(B)]), **options)
    assert [row["wrong"] for row in rows] == [0, mask(B).sum(), 0, mask(B).sum() - 1] * 2
    assert predictor.started == [False]
