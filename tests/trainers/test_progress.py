import subprocess
import sys
from time import monotonic, process_time

import pytest
import torch

from msam_nn.errors import UserError
from msam_nn.trainers import progress
from msam_nn.trainers.progress import ProgressMixin, cpu_seconds

BUSY = "import sys, time\nwhile time.process_time() < 0.4: pass\nprint(flush=True)\nsys.stdin.read()"


class Log:
    """Stands for nnU-Net's trainer."""

    num_epochs, current_epoch, local_rank = 10, 0, 0
    device = torch.device("cpu")

    def __init__(self):
        self.lines, self.stamps = [], {"epoch_start_timestamps": [], "epoch_end_timestamps": []}
        self.logger = self

    def get_value(self, key, step):
        return self.stamps[key]

    def print_to_log_file(self, line):
        self.lines.append(line)

    def on_train_epoch_start(self):
        pass

    def on_epoch_end(self):
        self.current_epoch += 1

    on_train_end = on_train_epoch_start


class Trainer(ProgressMixin, Log):
    pass


def test_cpu_time_is_that_of_the_process_and_of_living_and_dead_children():
    before = cpu_seconds()
    child = subprocess.Popen([sys.executable, "-c", BUSY], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    child.stdout.readline()
    alive = cpu_seconds() - before
    assert alive >= 0.35
    child.communicate()
    assert cpu_seconds() - before >= 0.35
    own = process_time()
    while process_time() < own + 0.2:
        pass
    assert cpu_seconds() - before >= 0.55


def test_time_left_follows_the_last_epochs():
    trainer = Trainer()
    trainer.stamps = {"epoch_start_timestamps": [0, 60, 180, 300], "epoch_end_timestamps": [60, 180, 300]}
    trainer.current_epoch = 3
    assert trainer.minutes_left == pytest.approx((60 + 120 + 120) / 3 * 7 / 60)


def test_every_epoch_says_cpu_time_and_time_left(monkeypatch):
    now = [5.0]
    monkeypatch.setattr(progress, "cpu_seconds", lambda: now[0])
    trainer = Trainer()
    trainer.on_train_epoch_start()
    now[0] += 90
    trainer.stamps = {"epoch_start_timestamps": [0], "epoch_end_timestamps": [1200]}
    trainer.on_epoch_end()
    trainer.on_train_end()
    assert trainer.lines == ["CPU time: 1.50 minutes in this session; about 3.0 hours of wall-clock time left",
                             "CPU time: 1.50 minutes in this session"]  # fmt: skip
    assert 0 <= trainer.minutes_spent < 1 and monotonic() >= trainer.wall_began


@pytest.mark.parametrize(("checkpoint", "advice"), [(None, "start it again"), ("checkpoint_best.pth", "--c")])
def test_an_interrupted_training_ends_with_a_sentence(tmp_path, monkeypatch, checkpoint, advice):
    def interrupt(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(Log, "run_training", interrupt, raising=False)
    trainer = Trainer()
    trainer.output_folder, trainer.current_epoch = str(tmp_path), 3
    if checkpoint:
        (tmp_path / checkpoint).touch()
    with pytest.raises(UserError, match=f"interrupted in epoch 3: .*{advice}"):
        trainer.run_training()
    assert {f.name for f in tmp_path.iterdir()} == ({checkpoint} if checkpoint else set())


@pytest.mark.parametrize(
    ("device", "told", "threads"), [("cpu", "1", 1), ("cpu", "", 3), ("cpu", "2,1", 3), ("cuda", "1", 3)]
)
def test_a_training_on_a_cpu_keeps_to_the_threads_it_was_given(tmp_path, monkeypatch, device, told, threads):
    seen, before = [], torch.get_num_threads()
    monkeypatch.setattr(Log, "run_training", lambda self: seen.append(torch.get_num_threads()), raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", told)
    trainer = Trainer()
    trainer.output_folder, trainer.device = str(tmp_path), torch.device(device)
    torch.set_num_threads(3)  # as nnUNetv2_train asks for the machine's cores
    try:
        trainer.run_training()
    finally:
        torch.set_num_threads(before)
    assert seen == [threads]


@pytest.mark.parametrize(("minutes", "words"), [(0.5, "30 seconds"), (45.4, "45 minutes"), (150, "2.5 hours")])
def test_durations_in_words(minutes, words):
    assert progress._duration(minutes) == words
