import pytest
import torch
from torch import nn

from msam_nn.networks.layers.lora import LoRAQKV, is_lora_parameter

from ..golden import normal, relative_error, tiny_image, tiny_model


def test_hand_worked_update():
    """Rank one on two channels: A_q picks channel 0, B_q sends it threefold to output 1 of the query; keys stay."""
    layer = LoRAQKV(2, 1)
    with torch.no_grad():
        layer.weight.zero_()
        layer.bias.zero_()
        layer.lora_a_q.weight.copy_(torch.tensor([[1.0, 0.0]]))
        layer.lora_b_q.weight.copy_(torch.tensor([[0.0], [3.0]]))
        layer.lora_a_v.weight.copy_(torch.tensor([[0.0, 1.0]]))
        layer.lora_b_v.weight.copy_(torch.tensor([[2.0], [0.0]]))
    torch.testing.assert_close(layer(torch.tensor([[5.0, 7.0]])), torch.tensor([[0.0, 15.0, 0.0, 0.0, 14.0, 0.0]]))


def test_starts_as_identity():
    layer = LoRAQKV(12, 4)
    plain = nn.Linear(12, 36)
    plain.load_state_dict({"weight": layer.weight, "bias": layer.bias})
    x = normal(0, (3, 12))
    assert torch.equal(layer(x), plain(x))
    assert all(layer.get_submodule(f"lora_a_{which}").weight.abs().min() > 0 for which in "qv")


def test_merged_equals():
    layer = LoRAQKV(12, 4)
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    merged = layer.merged()
    assert type(merged) is nn.Linear
    x = normal(0, (3, 12))
    assert relative_error(merged(x), layer(x).detach()) <= 1e-5
    assert relative_error(layer(x), nn.functional.linear(x, layer.weight, layer.bias).detach()) > 0.1


def test_only_lora_and_the_rest_train():
    model = tiny_model(lora_rank=2)
    for name, parameter in model.named_parameters():
        assert parameter.requires_grad == (not name.startswith("image_encoder.") or is_lora_parameter(name)), name
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    for _ in range(2):
        optimizer.zero_grad()
        model(tiny_image(model)).square().mean().backward()
        optimizer.step()
    changed = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert not {n for n in changed if n.startswith("image_encoder.") and not is_lora_parameter(n)}
    assert {n for n, _ in model.named_parameters() if is_lora_parameter(n)} <= changed
    assert any(n.startswith("mask_enhanced_adapter.") for n in changed)


@pytest.mark.parametrize(("changes", "trains"), [({}, True), ({"freeze_encoder": True}, False)])
def test_encoder_without_lora(changes, trains):
    parameters = tiny_model(**changes).image_encoder.parameters()
    assert {p.requires_grad for p in parameters} == {trains}
