import torch

from msam_nn.networks.masksam.boxes import boxes_of_masks


def test_outer_edges_in_units_of_the_slice():
    masks = torch.zeros(2, 2, 4, 8, dtype=torch.bool)
    masks[0, 0, 1:3, 2:7] = True
    masks[0, 1, 3, 7] = True  # one pixel has an area
    masks[1, 0] = True
    boxes, present = boxes_of_masks(masks)
    assert present.tolist() == [[True, True], [True, False]]
    assert boxes[0].tolist() == [[0.25, 0.25, 0.875, 0.75], [0.875, 0.75, 1.0, 1.0]]
    assert boxes[1].tolist() == [[0, 0, 1, 1], [0, 0, 0, 0]]
    assert boxes.dtype == torch.float32


def test_holes_and_parts_do_not_matter():
    mask = torch.zeros(5, 5, dtype=torch.bool)
    mask[0, 4] = mask[3, 1] = True
    torch.testing.assert_close(boxes_of_masks(mask)[0], torch.tensor([0.2, 0.0, 1.0, 0.8]))
