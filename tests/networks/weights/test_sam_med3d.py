from argparse import Namespace

import numpy as np
import pytest
import torch

from msam_nn.networks.weights.sam_med3d import CheckpointError, load_reference_checkpoint, our_key, read_state_dict

from ..golden import as_msam_file, released_state_dict, tiny_image, tiny_model


def snapshot(model):
    return {key: tensor.clone() for key, tensor in model.state_dict().items()}


def assert_untouched(model, before):
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())


@pytest.mark.parametrize(
    ("released", "ours"),
    [
        ("image_encoder.blocks.3.attn.qkv.weight", "image_encoder.blocks.3.attn.qkv.weight"),
        ("lora_sam.sam.image_encoder.blocks.3.attn.qkv.qkv.bias", "image_encoder.blocks.3.attn.qkv.bias"),
        (
            "lora_sam.sam.image_encoder.blocks.3.attn.qkv.linear_b_v.weight",
            "image_encoder.blocks.3.attn.qkv.lora_b_v.weight",
        ),
        ("lora_sam.sam.mask_decoder.iou_token.weight", "mask_decoder.iou_token.weight"),
        ("prompt_encoder.pe_layer.positional_encoding_gaussian_matrix", "prompt_encoder.position.gaussian_matrix"),
        ("bidatt.add_norm4.bias", "mask_enhanced_adapter.add_norm4.bias"),
        ("bidatt.multi_head_self_attention.rel_pos_d", "mask_enhanced_adapter.attention.rel_pos_d"),
        (
            "bidatt.bidirectional_attentions.0.prompt_multiheadattn.mlp.lin1.weight",
            "mask_enhanced_adapter.enhancement.prompt_attention.mlp.lin1.weight",
        ),
        (
            "bidatt.bidirectional_attentions.0.mlp2.lin2.weight",
            "mask_enhanced_adapter.enhancement.prompt_mlp.lin2.weight",
        ),
        (
            "bidatt.bidirectional_attentions.0.image_addnorm3.weight",
            "mask_enhanced_adapter.enhancement.image_addnorm3.weight",
        ),
    ],
)
def test_key_map(released, ours):
    assert our_key(released) == ours


def test_sam_med3d_file(tmp_path):
    source = released_state_dict(tiny_model(adapter=False))
    torch.save({"model_state_dict": source, "epoch": 3}, tmp_path / "sam_med3d_turbo.pth")
    model = tiny_model(seed=1, lora_rank=2)
    before = snapshot(model)
    report = load_reference_checkpoint(model, tmp_path / "sam_med3d_turbo.pth")
    again = load_reference_checkpoint(tiny_model(seed=1, lora_rank=2), {"model_state_dict": source, "epoch": 3})
    assert again == report
    assert report.kind == "SAM-Med3D" and len(report.loaded) == len(source)
    for key in report.new:
        assert key.startswith(("mask_enhanced_adapter.", "class_embedding")) or ".lora_" in key
        assert torch.equal(model.state_dict()[key], before[key])
    for key, tensor in source.items():
        assert torch.equal(model.state_dict()[our_key(key)], tensor)
    assert "LoRA" in str(report) and f"{len(source)} tensors" in str(report)


def test_msam_file(tmp_path):
    source = as_msam_file(released_state_dict(tiny_model()))
    torch.save({"model_state_dict": source}, tmp_path / "msam.pth")
    model = tiny_model(seed=1, lora_rank=2)
    report = load_reference_checkpoint(model, tmp_path / "msam.pth")
    assert report.kind == "M-SAM" and report.new == ["class_embedding"]
    state = model.state_dict()
    for key, tensor in source.items():
        assert torch.equal(state[our_key(key)], tensor)
    assert model.image_encoder.blocks[1].attn.qkv.lora_b_v.weight.abs().max() > 0


def test_lora_is_merged_where_the_network_has_none():
    """What the file's network with LoRA computes, the network without computes too."""
    source = as_msam_file(released_state_dict(tiny_model()))
    with_lora, without = tiny_model(lora_rank=2), tiny_model(seed=1)
    load_reference_checkpoint(with_lora, source)
    report = load_reference_checkpoint(without, source)
    blocks = range(without.config.depth)
    assert report.merged == [f"image_encoder.blocks.{i}.attn.qkv.weight" for i in blocks]
    assert report.unused == [] and "LoRA merged into 2 weights" in str(report)
    image = tiny_image(without)
    torch.testing.assert_close(without.encode(image).embedding, with_lora.encode(image).embedding)
    plain = tiny_model(seed=1)
    load_reference_checkpoint(plain, released_state_dict(tiny_model()))
    assert not torch.allclose(plain.encode(image).embedding, without.encode(image).embedding)


def test_half_a_lora_is_not_merged():
    model = tiny_model(seed=1)
    before, source = snapshot(model), as_msam_file(released_state_dict(tiny_model()))
    del source["lora_sam.sam.image_encoder.blocks.1.attn.qkv.linear_b_v.weight"]
    with pytest.raises(CheckpointError, match=r"incomplete LoRA at image_encoder\.blocks\.1\.attn\.qkv\."):
        load_reference_checkpoint(model, source)
    assert_untouched(model, before)


def test_what_the_network_has_no_place_for_is_reported():
    source = as_msam_file(released_state_dict(tiny_model()))
    source["something.else"] = torch.zeros(1)
    report = load_reference_checkpoint(tiny_model(seed=1, adapter=False, lora_rank=2), source)
    adapter = [key for key in source if key.startswith("bidatt.")]
    assert sorted(report.unused) == sorted([*adapter, "something.else"])
    assert f"{len(adapter) + 1} in the file unused (mask_enhanced_adapter, something)" in str(report)


def test_patch_embedding_for_several_channels():
    """Three equal channels give what one channel gave."""
    one, three = tiny_model(adapter=False), tiny_model(seed=1, adapter=False, in_channels=3)
    source = released_state_dict(one)
    load_reference_checkpoint(one, source)
    report = load_reference_checkpoint(three, source)
    assert report.adapted == ["image_encoder.patch_embed.proj.weight"]
    image = tiny_image(one)
    torch.testing.assert_close(three.encode(image.expand(-1, 3, -1, -1, -1)).embedding, one.encode(image).embedding)


def test_foreign_file_is_refused_with_the_expected_keys(tmp_path):
    model = tiny_model()
    before = snapshot(model)
    torch.save({"state_dict": {"encoder.stages.0.weight": torch.zeros(3)}}, tmp_path / "unet.pth")
    expected = r"image_encoder\.\*, prompt_encoder\.\*, mask_decoder\.\*.*encoder.stages"
    with pytest.raises(CheckpointError, match=expected):
        load_reference_checkpoint(model, tmp_path / "unet.pth")
    assert_untouched(model, before)


@pytest.mark.parametrize(
    "missing", ["mask_decoder.iou_token.weight", "bidatt.add_norm.weight", "image_encoder.neck.0.weight"]
)
def test_incomplete_file_is_refused(missing):
    model = tiny_model(seed=1)
    before, source = snapshot(model), released_state_dict(model)
    del source[missing]
    with pytest.raises(CheckpointError, match=our_key(missing).replace(".", r"\.")):
        load_reference_checkpoint(model, source)
    assert_untouched(model, before)


def test_other_geometry_is_refused():
    model = tiny_model(seed=1, embed_dim=48)
    before = snapshot(model)
    with pytest.raises(CheckpointError, match=r"24\).*needs .*48\)"):
        load_reference_checkpoint(model, released_state_dict(tiny_model()))
    with pytest.raises(CheckpointError, match=r"shape .*\(4, .*needs \(2, "):
        load_reference_checkpoint(tiny_model(lora_rank=2), as_msam_file(released_state_dict(tiny_model()), rank=4))
    assert_untouched(model, before)


@pytest.mark.parametrize("content", [{"model_state_dict": {}}, {"epoch": 3}, [1, 2]])
def test_file_without_a_state_dict(tmp_path, content):
    torch.save(content, tmp_path / "file.pth")
    with pytest.raises(CheckpointError, match="no state dict.*model_state_dict"):
        read_state_dict(tmp_path / "file.pth")


def test_training_arguments_and_numpy_losses_do_not_hinder(tmp_path):
    """SAM-Med3D's training saves both beside the weights."""
    source = released_state_dict(tiny_model(adapter=False))
    extra = {"args": Namespace(lr=8e-4), "dices": [np.float64(0.5)], "losses": np.ones(2)}
    torch.save({"model_state_dict": source, **extra}, tmp_path / "sam_med3d_turbo.pth")
    report = load_reference_checkpoint(tiny_model(seed=1), tmp_path / "sam_med3d_turbo.pth")
    assert len(report.loaded) == len(source)
