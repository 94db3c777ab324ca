from argparse import Namespace

import numpy as np
import pytest
import torch

from msam_nn.networks.weights.safe_load import CheckpointError, load_plain


def test_harmless_values_are_read(tmp_path):
    content = {"weights": torch.ones(2), "args": Namespace(lr=1), "dice": np.float64(0.5), "losses": np.arange(3)}
    torch.save(content, tmp_path / "file.pth")
    loaded = load_plain(tmp_path / "file.pth")
    assert torch.equal(loaded["weights"], content["weights"]) and loaded["args"] == content["args"]
    assert loaded["dice"] == 0.5 and loaded["losses"].tolist() == [0, 1, 2]


class Bomb:
    def __reduce__(self):
        return (exec, ("raise SystemExit('code in a checkpoint ran')",))


def test_code_in_a_file_is_not_run(tmp_path):
    torch.save({"model_state_dict": Bomb()}, tmp_path / "bomb.pth")
    with pytest.raises(CheckpointError, match="bomb.pth.*not opened"):
        load_plain(tmp_path / "bomb.pth")


def test_other_files_are_named(tmp_path):
    (tmp_path / "text.pth").write_text("not a checkpoint")
    with pytest.raises(CheckpointError, match="text.pth"):
        load_plain(tmp_path / "text.pth")
