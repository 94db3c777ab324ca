import torch

from msam_nn.networks.weights.nnunet import is_unet_state


def test_a_unet_is_told_by_its_heads():
    assert is_unet_state({"decoder.seg_layers.0.weight": torch.zeros(1)})
    assert not is_unet_state({"image_encoder.pos_embed": torch.zeros(1), "mask_decoder.seg_layers": torch.zeros(1)})
