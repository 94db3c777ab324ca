import pytest
import torch
from torch.nn import functional as F

from msam_nn.networks.baselines.med_sa import Adapter, MedSA
from msam_nn.networks.layers.depth_adapter import sam_names


def network(**changes):
    torch.manual_seed(0)
    return MedSA(**{**dict(in_channels=1, out_channels=2, patch_size=(3, 32, 48), trunk="tiny"), **changes})


def test_it_starts_as_sam_itself():
    """Adapters are zero at first: taking the depth branch away changes nothing, and slices do not see each other."""
    model, image = network().eval(), torch.randn(1, 1, 3, 32, 48)
    whole = model(image)
    assert whole.shape == (1, 2, 3, 32, 48)
    other = image.clone()
    other[:, :, 0] += 1
    changed = (model(other) - whole).abs().amax((0, 1, 3, 4))
    assert changed[0] > 1e-4 and (changed[1:] == 0).all()


def test_the_depth_branch_lets_slices_see_each_other():
    model, image = network().eval(), torch.randn(1, 1, 3, 32, 48)
    for module in model.modules():
        if isinstance(module, Adapter):
            torch.nn.init.normal_(module.up.weight, std=0.1)
    other = image.clone()
    other[:, :, 0] += 1
    assert ((model(other) - model(image)).abs().amax((0, 1, 3, 4)) > 1e-6).all()


def test_attention_along_depth_by_hand():
    """For the columns of one token: the block's own projections, softmax over slices, no positions."""
    block = network().image_encoder.blocks[0]
    x = torch.randn(2 * 3, 2, 2, 192)
    column = x.reshape(2, 3, 2, 2, 192)[1, :, 0, 1]
    query, key, value = block.attn.qkv(column).chunk(3, dim=-1)
    heads = [F.softmax(q @ k.T * 64**-0.5, -1) @ v
             for q, k, v in zip(query.split(64, -1), key.split(64, -1), value.split(64, -1), strict=True)]  # fmt: skip
    expected = block.attn.proj(torch.cat(heads, -1))
    assert torch.allclose(block.along_depth(x).reshape(2, 3, 2, 2, 192)[1, :, 0, 1], expected, atol=1e-5)


def test_released_encoders_freeze_all_but_adapters_and_decoder():
    with torch.device("meta"):
        model = network(trunk="vit_h")
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    in_encoder = {name.split(".")[3] for name in trained if name.startswith("image_encoder.")}
    assert in_encoder == {"space_adapter", "depth_adapter", "mlp_adapter"}
    assert "class_tokens" in trained and any(name.startswith("mask_decoder.transformer") for name in trained)
    assert not any("adapter" in name for name in sam_names(model))
    tuned = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert tuned / 1e6 == pytest.approx(13, rel=0.05)  # M-SAM's Table 1: 13 M of 636 M
