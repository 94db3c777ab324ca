import math

import pytest
import torch

from msam_nn.evaluation.costs import load_predictor, training_time

HEAD = "This is the configuration used by this training:\n \n"


def log(folder, name, *events):
    """A training log with nnU-Net's lines; events are (minute, text)."""
    lines = [f"2026-01-02 10:{minute:02d}:00.000000: {text} " for minute, text in events]
    (folder / f"training_log_2026_1_2_{name}.txt").write_text(HEAD + "\n".join(lines))


def test_from_first_epoch_to_the_end(tmp_path):
    log(tmp_path, "a", (0, "Using splits"), (2, "Epoch 0"), (5, "Epoch time: 180 s"), (9, "Training done."),
        (20, "predicting case"), (30, "Validation complete"))  # fmt: skip
    assert training_time(tmp_path).wall == pytest.approx(7)


def test_a_continued_training_is_the_sum_of_its_sessions(tmp_path):
    log(tmp_path, "a", (0, "Epoch 0"), (4, "Epoch time: 240 s"), (4, "Epoch 1"))
    log(tmp_path, "b", (20, "Epoch 1"), (23, "Epoch time: 180 s"), (23, "Training done."))
    log(tmp_path, "c", (40, "predicting case"))
    assert training_time(tmp_path).wall == pytest.approx(4 + 3)


def test_sessions_are_in_the_order_of_their_dates(tmp_path):
    """nnU-Net does not pad months and days: the tenth sorts before the ninth as text."""
    log(tmp_path, "a", (0, "Epoch 0"), (4, "Epoch time: 240 s"), (4, "Epoch 1"))
    log(tmp_path, "b", (20, "Epoch 1"), (23, "Epoch time: 180 s"), (23, "Training done."))
    for name, day in (("a", 9), ("b", 10)):
        (tmp_path / f"training_log_2026_1_2_{name}.txt").rename(tmp_path / f"training_log_2026_1_{day}_10_00_00.txt")
    assert training_time(tmp_path).wall == pytest.approx(4 + 3)


def test_a_training_that_started_over_counts_from_there(tmp_path):
    log(tmp_path, "a", (0, "Epoch 0"), (9, "Training done."))
    log(tmp_path, "b", (20, "Epoch 0"), (22, "Training done."))
    assert training_time(tmp_path).wall == pytest.approx(2)


def test_unknown_without_a_finished_log(tmp_path):
    assert math.isnan(training_time(tmp_path).wall)
    log(tmp_path, "a", (0, "Epoch 0"), (4, "Epoch time: 240 s"))
    assert math.isnan(training_time(tmp_path).wall)


def test_cpu_time_is_the_last_of_each_session(tmp_path):
    log(tmp_path, "a", (0, "Epoch 0"), (4, "Epoch time: 240 s"), (4, "CPU time: 3.50 minutes in this session; about 9"),
        (4, "Epoch 1"))  # fmt: skip
    log(tmp_path, "b", (20, "Epoch 1"), (23, "CPU time: 2.00 minutes in this session; about 1"),
        (24, "CPU time: 2.25 minutes in this session"), (24, "Training done."))  # fmt: skip
    assert training_time(tmp_path) == pytest.approx((4 + 4, 3.5 + 2.25))


def test_cpu_time_of_a_trainer_that_does_not_tell(tmp_path):
    log(tmp_path, "a", (0, "Epoch 0"), (9, "Training done."))
    assert math.isnan(training_time(tmp_path).cpu)


def test_no_predictor_without_a_checkpoint(tmp_path):
    assert load_predictor(tmp_path, [0], torch.device("cpu")) is None
