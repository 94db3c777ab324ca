import pytest
import torch

new_tensor = torch.tensor


def _tensor(data, device=None, **options):
    """``torch.tensor``, which asks no mode where its result belongs."""
    made = new_tensor(data, **options)
    return made if device is None else made.to(device)


@pytest.fixture
def other_device(monkeypatch) -> torch.device:
    """A device that is not the host's, and raises where tensors of both meet."""
    if not hasattr(torch.utils.backend_registration, "_setup_privateuseone_for_python_backend"):
        pytest.skip("needs a PyTorch that takes backends written in Python")
    from . import other_device as other

    monkeypatch.setattr(torch, "Generator", other.HostGenerator)
    monkeypatch.setattr(torch, "tensor", _tensor)
    with torch.autograd.set_multithreading_enabled(False), other.StrictDevices():
        yield other.DEVICE
