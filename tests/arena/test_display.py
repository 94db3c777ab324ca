"""What a terminal shows."""

import io
import json
import os
import socket

import pytest
from rich.console import Console

from msam_nn.arena.display import RUNNING, Watch, doing, overview, with_running
from msam_nn.arena.jobs import Job
from msam_nn.arena.schedule import FINISHED, SUBMITTED, WAITING

LOG = """
2026-11-26 18:51:43.875578: Epoch 11
2026-11-26 18:51:43.875754: Current learning rate: 0.00043
2026-11-26 18:51:49.875754: Pseudo dice [0.5, 0.25]
2026-11-26 18:52:43.875578: Epoch 12
"""


@pytest.fixture
def jobs(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    (tmp_path / "a" / "log.txt").write_text(LOG)
    mark = {"host": socket.gethostname(), "pid": os.getpid()}
    (tmp_path / "a" / "running.json").write_text(json.dumps(mark))
    return [Job("a", "train", ()), Job("b", "clicks", ())]


def test_a_training_shows_its_epoch_and_dice(jobs, tmp_path):
    assert doing(tmp_path / "a") == "Epoch 12, Pseudo dice [0.5, 0.25]"
    (tmp_path / "b" / "log.txt").write_text("scoring: 3/10\rscoring: 4/10\n\n")
    assert doing(tmp_path / "b") == "scoring: 4/10"


def test_jobs_are_counted_by_stage(jobs, tmp_path):
    states = with_running(jobs, {"a": SUBMITTED, "b": WAITING}, lambda name: tmp_path / name)
    assert states == {"a": RUNNING, "b": WAITING}
    console = Console(file=io.StringIO(), width=100)
    console.print(overview(jobs, states, lambda name: tmp_path / name))
    lines = [line.split() for line in console.file.getvalue().splitlines()]
    assert lines == [
        ["stage", "running", "waiting"], ["train", "1", "·"], ["clicks", "·", "1"],
        ["a", "Epoch", "12,", "Pseudo", "dice", "[0.5,", "0.25]"],
    ]  # fmt: skip


def test_without_a_terminal_a_line_tells_each_change(jobs, tmp_path):
    console = Console(file=io.StringIO(), width=100)
    with Watch(jobs, lambda name: tmp_path / name, console) as watch:
        for states in ({"a": WAITING, "b": WAITING}, {"a": SUBMITTED, "b": WAITING}, {"a": FINISHED, "b": WAITING}):
            watch(states)
    assert console.file.getvalue().split() == [SUBMITTED, "a", FINISHED, "a"]


def test_jobs_that_are_submitted_at_once_are_told_and_those_done_before_are_not(jobs, tmp_path):
    console = Console(file=io.StringIO(), width=100)
    with Watch(jobs, lambda name: tmp_path / name, console) as watch:
        watch({"a": FINISHED, "b": SUBMITTED})
    assert console.file.getvalue().split() == [SUBMITTED, "b"]
