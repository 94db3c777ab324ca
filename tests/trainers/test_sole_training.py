import json
import socket
import subprocess
import sys

import pytest

from msam_nn.errors import UserError
from msam_nn.trainers.sole_training import NAME, sole_training


def mark(folder, pid, host=None):
    (folder / NAME).write_text(json.dumps({"host": host or socket.gethostname(), "pid": pid}))


def test_the_mark_goes_when_training_ends_or_fails(tmp_path):
    with sole_training(tmp_path):
        assert (tmp_path / NAME).exists()
    with pytest.raises(ValueError, match="loss"), sole_training(tmp_path):
        raise ValueError("loss")
    assert not list(tmp_path.iterdir())


def test_a_second_training_is_refused_while_the_first_lives(tmp_path):
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    mark(tmp_path, other.pid)
    with pytest.raises(UserError, match=f"Process {other.pid} is training"), sole_training(tmp_path):
        pass
    other.communicate(b"\n")
    with sole_training(tmp_path):
        pass


@pytest.mark.parametrize("content", ["", "{}", "[1"])
def test_a_broken_mark_counts_for_nothing(tmp_path, content):
    (tmp_path / NAME).write_text(content)
    with sole_training(tmp_path):
        pass


def test_other_machines_are_not_asked(tmp_path):
    mark(tmp_path, 1, host="another")
    with sole_training(tmp_path):
        pass
