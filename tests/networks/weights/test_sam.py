import pytest
import torch
from torch import nn

from msam_nn.networks.encoders.sam import SAMImageEncoder
from msam_nn.networks.layers.depth_adapter import sam_names
from msam_nn.networks.masksam import MaskSAM, MaskSAMConfig
from msam_nn.networks.weights.safe_load import CheckpointError
from msam_nn.networks.weights.sam import OUR_MATRIX, RELEASED_MATRIX, is_sam_state, load_sam

SMALL = dict(embed_dim=16, num_heads=2, canvas=256, decoder_dim=32, decoder_mlp_dim=32, generator_widths=(8,) * 5)


def small_network(seed: int = 0, **changes) -> MaskSAM:
    torch.manual_seed(seed)
    fields = dict(in_channels=1, num_classes=2, patch_size=(2, 32, 32), n_queries=3, **SMALL)
    return MaskSAM(MaskSAMConfig(**{**fields, **changes}))


def sam_file(network: MaskSAM) -> dict[str, torch.Tensor]:
    """What SAM's file for a network of this geometry would hold, in its names."""
    state = network.state_dict()
    return {RELEASED_MATRIX if key == OUR_MATRIX else key: torch.randn(state[key].shape) for key in sam_names(network)}


def test_every_tensor_of_vit_b_is_consumed():
    with torch.device("meta"):
        network = MaskSAM(
            MaskSAMConfig.of_trunk("vit_b", in_channels=1, num_classes=2, patch_size=(4, 64, 64), n_queries=8)
        )
    names = sam_names(network)
    shapes = {key: tuple(network.state_dict()[key].shape) for key in names}
    assert len(names) == 314
    assert shapes["image_encoder.blocks.5.attn.rel_pos_h"] == (127, 64)
    assert shapes["image_encoder.blocks.6.attn.rel_pos_w"] == (27, 64)
    assert shapes["image_encoder.pos_embed"] == (1, 64, 64, 768)
    assert shapes["image_encoder.neck.2.weight"] == (256, 256, 3, 3)
    assert shapes[OUR_MATRIX] == (2, 128)
    assert shapes["prompt_encoder.mask_downscaling.6.weight"] == (256, 16, 1, 1)
    assert shapes["mask_decoder.transformer.layers.1.cross_attn_image_to_token.out_proj.weight"] == (256, 128)
    assert shapes["mask_decoder.output_upscaling.3.weight"] == (64, 32, 2, 2)
    assert shapes["mask_decoder.iou_prediction_head.layers.2.weight"] == (4, 256)


def test_round_trip(tmp_path):
    network = small_network()
    released, before = sam_file(network), {k: v.clone() for k, v in network.state_dict().items()}
    torch.save(released, tmp_path / "sam.pth")
    report = load_sam(network, tmp_path / "sam.pth")
    after = network.state_dict()
    assert is_sam_state(released) and len(report.loaded) == len(released) == 314 and report.unused == []
    assert "SAM weights: 314 tensors loaded" in str(report)
    for key in after:
        expected = released.get(RELEASED_MATRIX if key == OUR_MATRIX else key)
        assert torch.equal(after[key], before[key] if expected is None else expected)
    assert set(report.new) == set(after) - set(report.loaded)


def test_encoder_alone():
    """A network with another decoder takes what it has a place for."""
    model = nn.Module()
    model.image_encoder = SAMImageEncoder(embed_dim=16, num_heads=2, table_size=16, output_dim=32)
    report = load_sam(model, sam_file(small_network()))
    assert len(report.loaded) == 177 and report.new == [] and len(report.unused) == 314 - 177


def without(key):
    return lambda state: {k: v for k, v in state.items() if k != key}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("mask_decoder.iou_token.weight"), "no tensor for mask_decoder.iou_token.weight: it is incomplete"),
        (without(RELEASED_MATRIX), f"no tensor for {RELEASED_MATRIX}"),
        (lambda s: {**s, "mask_decoder.extra": torch.zeros(1)}, "does not have: mask_decoder.extra"),
        (lambda s: {**s, "mask_decoder.hf_token.weight": torch.zeros(1, 32)}, "HQ-SAM"),
        (lambda s: {**s, "image_encoder.neck.0.weight": torch.zeros(1)}, r"shape \(1,\), this network needs \(32, 16,"),
        (
            lambda s: {**s, "image_encoder.patch_embed.proj.weight": torch.zeros(16, 1, 16, 16, 16)},
            "3D network's weights",
        ),
        (lambda s: {"lora_sam.sam.image_encoder.patch_embed.proj.weight": torch.zeros(16, 1, 16, 16, 16)}, "M-SAM's"),
        (without("image_encoder.patch_embed.proj.weight"), "no file of SAM's weights"),
        (lambda s: {k: v for k, v in s.items() if "blocks" not in k}, "width 16 with 0 blocks, .* width 16 with 12"),
        (lambda s: {"encoder.weight": torch.zeros(1)}, "no file of SAM's weights"),
    ],
)
def test_other_files_are_refused_in_one_sentence(change, message):
    network = small_network()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    with pytest.raises(CheckpointError, match=message):
        load_sam(network, change(sam_file(network)))
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())


@pytest.mark.parametrize(
    ("held", "planned", "message"),
    [
        ("vit_h", "vit_b", "holds SAM's ViT-H, these plans are for its ViT-B"),
        ("vit_b", "tiny", "holds SAM's ViT-B, these plans are for an encoder of width 192"),
    ],
)
def test_another_trunk_is_named(held, planned, message):
    fields = dict(in_channels=1, num_classes=2, patch_size=(2, 32, 32), n_queries=3)
    with torch.device("meta"):
        source, network = (MaskSAM(MaskSAMConfig.of_trunk(trunk, **fields)) for trunk in (held, planned))
    released = {RELEASED_MATRIX if k == OUR_MATRIX else k: source.state_dict()[k] for k in sam_names(source)}
    with pytest.raises(CheckpointError, match=message):
        load_sam(network, released)
