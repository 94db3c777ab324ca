import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet

from msam_nn.networks.msam_unet import MSAMUNet
from msam_nn.networks.weights.nnunet import is_unet_state, load_unet


def test_a_unet_is_told_by_its_heads():
    assert is_unet_state({"decoder.seg_layers.0.weight": torch.zeros(1)})
    assert not is_unet_state({"image_encoder.pos_embed": torch.zeros(1), "mask_decoder.seg_layers": torch.zeros(1)})


def test_what_was_loaded_is_told_once():
    """nnU-Net's state dict has every convolution under several names."""
    conv = dict(conv_bias=True, norm_op=torch.nn.InstanceNorm3d, nonlin=torch.nn.LeakyReLU)
    unet = PlainConvUNet(1, 3, (4, 8, 8), torch.nn.Conv3d, 3, (1, 2, 2), 1, 3, 1, **conv)
    network = MSAMUNet(unet, patch_size=(16, 16, 16), num_outputs=3, background=True, spacing=(1, 1, 1))
    report = load_unet(network, unet.state_dict())
    assert report.loaded == [name for name, _ in unet.named_parameters()] != list(unet.state_dict())
    assert network.unet_is_given and not any(name.startswith("unet.") for name in report.new)
