"""Outputs of the published code at full size, for weights made from their names."""

import json

import numpy as np
import pytest
import torch

from msam_nn.networks import MSAM, MSAMConfig
from msam_nn.networks.weights.sam_med3d import load_reference_checkpoint

from .golden import CLICKS, golden_folder, golden_tensor, normal, relative_error

pytestmark = pytest.mark.shared_data
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def expected():
    with np.load(golden_folder() / "msam_reference.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def released():
    names = json.loads((golden_folder() / "state_dict_names.json").read_text(encoding="utf-8"))
    return {part: {name: golden_tensor(name, shape) for name, shape in names[part].items()} for part in ("sam", "mea")}


@pytest.fixture(scope="module")
def image():
    return normal(7, (1, 1, 128, 128, 128))


@pytest.fixture(scope="module", params=["sammed3d", "msam"])
def network(request, released, image):
    """The network, its features of the golden image, and the prefix of its golden values."""
    adapter = request.param == "msam"
    model = MSAM(MSAMConfig.sam_med3d(adapter=adapter, lora_rank=0)).eval()
    report = load_reference_checkpoint(model, {**released["sam"], **(released["mea"] if adapter else {})})
    assert report.new == ["class_embedding"]
    with torch.no_grad():
        return model, model.encode(image), request.param


@torch.no_grad()
def test_encoder_and_position(network, expected):
    _, features, _ = network
    assert relative_error(features.embedding[:, ::3], expected["encoder_out"]) <= TOLERANCE
    assert relative_error(features.position.movedim(-1, 0)[None, ::3], expected["dense_pe"]) <= TOLERANCE


@torch.no_grad()
def test_prompt_encoder(network, expected):
    model, _, _ = network
    for label, name in ((1, "sparse_pos"), (0, "sparse_neg")):
        sparse = model.prompt_encoder.sparse(torch.tensor([[[40, 70, 99]]]), torch.tensor([[label]]))
        assert relative_error(sparse, expected[name]) <= TOLERANCE
    dense = model.prompt_encoder.dense(normal(8, (1, 1, 32, 32, 32)))
    assert relative_error(dense[:, ::3], expected["mask_embedding"]) <= TOLERANCE


@torch.no_grad()
def test_adapter(network, expected):
    model, features, prefix = network
    if prefix != "msam":
        assert model.mask_enhanced_adapter is None and features.image_half is None
        return
    dense = model.prompt_encoder.dense(normal(8, (1, 1, 32, 32, 32)))
    fused = model.mask_enhanced_adapter(features.image_half, dense.movedim(1, -1)).movedim(-1, 1)
    assert relative_error(fused[:, ::3], expected["mea_out"]) <= TOLERANCE


@torch.no_grad()
def test_three_stages(network, expected):
    model, features, prefix = network
    masks = None
    for stage, (point, label) in enumerate(CLICKS):
        prompts = (torch.tensor(point)[None, None, None], torch.tensor([[[label]]]))
        if stage == 2:
            _, iou = model.decode(features, *prompts, masks, multimask=True)
            np.testing.assert_allclose(iou[:, 0], expected[f"{prefix}_multimask_iou"], rtol=0, atol=1e-5)
        masks, iou = model.decode(features, *prompts, masks)
        assert relative_error(masks, expected[f"{prefix}_low_res_{stage}"]) <= TOLERANCE
        np.testing.assert_allclose(iou, expected[f"{prefix}_iou_{stage}"], rtol=0, atol=1e-5)


@torch.no_grad()
def test_lora_encoder(released, image, expected):
    model = MSAM(MSAMConfig.sam_med3d(adapter=False, lora_rank=4)).eval()
    load_reference_checkpoint(model, released["sam"])
    layers = [block.attn.qkv for block in model.image_encoder.blocks]
    pairs = [pair for m in layers for pair in ((m.lora_a_q, m.lora_b_q), (m.lora_a_v, m.lora_b_v))]
    for i, (down, up) in enumerate(pairs):
        down.weight.copy_(normal(1000 + i, (4, 768)) / 28)
        up.weight.copy_(normal(2000 + i, (768, 4)) * 0.1)
    assert relative_error(model.image_encoder(image)[:, ::3], expected["encoder_out_lora"]) <= TOLERANCE


def test_released_names_and_shapes_are_ours(released):
    """Every released tensor has its place, none is left over."""
    with torch.device("meta"):
        model = MSAM(MSAMConfig.sam_med3d(lora_rank=0))
    state = {**released["sam"], **released["mea"]}
    with torch.device("meta"):
        report = load_reference_checkpoint(model, {k: v.to("meta") for k, v in state.items()})
    assert len(report.loaded) == len(state)
