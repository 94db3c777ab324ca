import torch
from torch import nn

from msam_nn.networks.weights.files import count_parameters


def test_parameters_count_once_and_buffers_never(tmp_path):
    """6 + 2 of a linear layer with two names, 3 + 3 of a norm; statistics, a flag and the fixed matrix are buffers."""
    network = nn.ModuleDict({"a": nn.Linear(3, 2), "norm": nn.BatchNorm1d(3)})
    network["alias"] = network["a"]
    network.register_buffer("flag", torch.zeros((), dtype=torch.bool))
    network.register_buffer("gaussian_matrix", torch.zeros(9))
    assert count_parameters(network.state_dict()) == 14
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    assert count_parameters(torch.load(tmp_path / "weights.pth")) == 14
