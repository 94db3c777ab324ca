import pytest
import torch

from msam_nn.errors import UserError
from msam_nn.server.status import sentence
from msam_nn.server.worker import NO_MEMORY


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (UserError("The box is empty."), "The box is empty."),
        (MemoryError(), NO_MEMORY),
        (torch.OutOfMemoryError("CUDA out of memory"), NO_MEMORY),
        (ValueError("bad spacing\nsecond line"), "It failed (ValueError: bad spacing)."),
        (ValueError(), "It failed (ValueError:)."),
    ],
)
def test_an_error_is_one_sentence(error, expected):
    assert sentence(error, "It failed") == expected
