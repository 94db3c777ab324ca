import pytest
import torch

from msam_nn.device import insist_on_device, torch_device
from msam_nn.errors import UserError


def test_the_cpu_is_always_there():
    assert torch_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize(("available", "chosen"), [(True, "cuda"), (False, "cpu")])
def test_auto_is_a_gpu_where_there_is_one(monkeypatch, available, chosen):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    assert torch_device("auto") == torch.device(chosen)


@pytest.mark.parametrize("available", [True, False])
def test_cuda_only_where_there_is_a_gpu(monkeypatch, available):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    if available:
        assert torch_device("cuda") == torch.device("cuda")
    else:
        with pytest.raises(UserError, match="add -device cpu"):
            torch_device("cuda")


def test_a_macs_gpu_is_refused():
    with pytest.raises(UserError, match="64 bits: add -device cpu"):
        insist_on_device(torch.device("mps"))
