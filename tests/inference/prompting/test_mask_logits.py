import pytest
import torch

from msam_nn.inference.prompting.mask_logits import MaskLogits


@pytest.fixture
def start():
    return torch.arange(16.0).view(2, 2, 2, 2).half()


def test_it_reads_copies_in_single_precision(start):
    logits = MaskLogits(start)
    assert logits.shape == (2, 2, 2)
    region = logits[(slice(None), slice(0, 1), 1, slice(None))]
    assert region.dtype == torch.float32 and region.tolist() == [[[2, 3]], [[10, 11]]]
    assert logits[(1, 0, 0, 1)] == 9 and logits[(slice(None), 1, 1, 1)].tolist() == [7, 15]
    region.zero_()
    logits[(1, slice(None))].zero_()
    assert torch.equal(start, torch.arange(16.0).view(2, 2, 2, 2).half())
    assert logits[(0, 0, 1, 0)] == 2 and logits[(1, 0, 0, 0)] == 8


def test_what_is_written_is_read_and_the_start_stays(start):
    logits = MaskLogits(start)
    before = logits.exchange((1, slice(0, 1), slice(None), slice(0, 1)), torch.full((1, 2, 1), 0.1))
    assert before.flatten().tolist() == [8, 10]
    assert logits[(slice(None), 0, 0, 0)].tolist() == [0, pytest.approx(0.1)]
    assert logits[(1, 0, 0, 0)] == torch.tensor(0.1)  # not rounded to half precision
    assert start[1, 0, 0, 0] == 8


def test_only_classes_that_are_written_to_take_memory():
    logits = MaskLogits(torch.tensor(-10.0).expand(9, 4, 4, 4))
    logits.exchange((3, 1, 2, slice(None)), torch.ones(4))
    own = [index for index in range(9) if logits.of(index).untyped_storage().nbytes() > 4]
    assert own == [3] and logits.of(3).sum() == 4 - 60 * 10


def test_what_was_made_in_inference_mode_is_written_to_outside():
    with torch.inference_mode():
        logits = MaskLogits(torch.zeros(1, 2, 2, 2))
        logits.exchange((0, 0, 0, 0), torch.tensor(1.0))
    logits.exchange((0, 0, 0, 0), torch.tensor(2.0))
    assert logits[(0, 0, 0, 0)] == 2
