import pytest
import torch

from msam_nn.networks import MSAM, Points

from ..golden import normal, relative_error, some_clicks, tiny_image, tiny_model


class RecordingSource:
    """Hands out the same clicks at every stage and remembers how it was asked."""

    def __init__(self, prompts):
        self.prompts = prompts
        self.calls = []

    def __call__(self, stage, masks):
        self.calls.append((stage, masks))
        return self.prompts


def clicks_of(model, **options):
    return Points(*some_clicks(model, **options))


def test_names_others_rely_on():
    model = tiny_model()
    features = model.encode(tiny_image(model))
    assert features.embedding.shape == (2, 48, 2, 3, 4)
    masks, iou = model.decode(features, *some_clicks(model), normal(3, (2, 1, 8, 12, 16)))
    assert masks.shape == (2, 1, 8, 12, 16) and iou.shape == (2, 1)
    three, three_iou = model.decode(features, *some_clicks(model), multimask=True)
    assert three.shape == (2, 1, 3, 8, 12, 16) and three_iou.shape == (2, 1, 3)


def test_wrong_image_size_names_both():
    model = tiny_model()
    with pytest.raises(ValueError, match=r"\(16, 24, 32\) voxels, got \(16, 24, 24\)"):
        model.encode(torch.zeros(1, 1, 16, 24, 24))


@pytest.mark.parametrize("background", [True, False])
def test_logits_in_nnunets_convention(background):
    model = tiny_model(num_classes=3, background=background)
    image = tiny_image(model)
    logits = model(image)
    assert logits.shape == (2, 3 + background, 16, 24, 32)
    if background:
        assert not logits[:, 0].any()
    stages = model(image, RecordingSource(clicks_of(model)), 2)
    assert [s.shape for s in stages] == [logits.shape] * 2


def test_prediction_without_prompts_is_the_loop_without_prompts():
    model = tiny_model(num_classes=2, n_auto_stages=2)
    image = tiny_image(model)
    torch.testing.assert_close(model(image), model(image, lambda stage, masks: None)[-1])
    assert not torch.allclose(model(image), model(image, n_stages=1))


def test_no_prompt_is_a_padding_point():
    model = tiny_model()
    features = model.encode(tiny_image(model))
    padding = Points(torch.full((2, 1, 1, 3), 7), torch.full((2, 1, 1), -1))
    torch.testing.assert_close(
        model.refine(features, None, None).logits, model.refine(features, padding, None).logits, rtol=0, atol=0
    )


def test_no_points_at_all():
    model = tiny_model()
    features = model.encode(tiny_image(model))
    masks, _ = model.decode(features, torch.zeros(2, 1, 0, 3), torch.zeros(2, 1, 0))
    sparse = model.prompt_encoder.sparse(torch.zeros(2, 0, 3), torch.zeros(2, 0))
    assert sparse.shape == (2, 1, 48)
    assert masks.isfinite().all()


def test_missing_mask_prompt_is_all_zero():
    model = tiny_model()
    features = model.encode(tiny_image(model))
    zero = model.decode(features, *some_clicks(model), torch.zeros(2, 1, 8, 12, 16))[0]
    assert torch.equal(model.decode(features, *some_clicks(model))[0], zero)


@pytest.mark.parametrize("adapter", [True, False])
def test_new_classes_all_start_as_the_binary_network(adapter):
    one, three = tiny_model(adapter=adapter), tiny_model(adapter=adapter, num_classes=3)
    image = tiny_image(one)
    torch.testing.assert_close(three(image)[:, 1:], one(image)[:, 1:].expand(-1, 3, -1, -1, -1), rtol=1e-4, atol=1e-4)
    points, labels = some_clicks(one)
    single, iou = one.decode(one.encode(image), points, labels)
    triple, ious = three.decode(three.encode(image), points.expand(-1, 3, -1, -1), labels.expand(-1, 3, -1))
    torch.testing.assert_close(triple, single.expand(-1, 3, -1, -1, -1), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ious, iou.expand(-1, 3), rtol=1e-4, atol=1e-4)


def distinct_classes(**changes):
    model = tiny_model(num_classes=5, **changes)
    with torch.no_grad():
        model.class_embedding.copy_(normal(11, tuple(model.class_embedding.shape)))
    return model


def test_subset_of_classes():
    model = distinct_classes()
    features, (points, labels) = model.encode(tiny_image(model)), some_clicks(model)
    every, ious = model.decode(features, points, labels)
    classes = torch.tensor([3, 1])
    some, iou = model.decode(features, points[:, classes], labels[:, classes], classes=classes)
    assert not torch.allclose(every[:, 3], every[:, 1])
    torch.testing.assert_close(some, every[:, classes], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(iou, ious[:, classes], rtol=1e-4, atol=1e-4)


def test_class_embeddings_act_twenty_times_as_large_as_stored():
    model, seen = distinct_classes(), []
    model.mask_decoder.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[3]))
    model.decode(model.encode(tiny_image(model)), *some_clicks(model))
    torch.testing.assert_close(seen[0][:5], 20 * model.class_embedding)


def test_subset_of_classes_in_the_loop():
    model = distinct_classes()
    image, clicks, classes = tiny_image(model), clicks_of(model), torch.tensor([4, 0])
    every = model(image, RecordingSource(clicks), 2)
    chosen = RecordingSource(Points(clicks.points[:, classes], clicks.labels[:, classes]))
    for ours, expected in zip(model(image, chosen, 2, classes), every, strict=True):
        torch.testing.assert_close(ours[:, 1:], expected[:, 1 + classes], rtol=1e-3, atol=1e-3)


def test_class_chunk_changes_nothing():
    image = tiny_image(distinct_classes())
    expected = distinct_classes(class_chunk=5)(image)
    for chunk in (1, 2, 3):
        torch.testing.assert_close(distinct_classes(class_chunk=chunk)(image), expected, rtol=1e-3, atol=1e-3)


def test_prompt_source_sees_the_stage_and_its_last_masks():
    model = distinct_classes()
    source = RecordingSource(clicks_of(model))
    stages = model(tiny_image(model), source, 3)
    assert [stage for stage, _ in source.calls] == [0, 1, 2]
    assert source.calls[0][1] is None
    for (_, masks), logits in zip(source.calls[1:], stages[:-1], strict=True):
        assert torch.equal(masks, logits[:, 1:]) and not masks.requires_grad


def test_silent_stages_run_without_gradient_and_are_left_out():
    model = distinct_classes()
    image, source = tiny_image(model), RecordingSource(clicks_of(model))
    every, heard = model(image, source, 3), model(image, source, 3, None, range(1, 2))
    assert len(heard) == 2 and torch.equal(heard[0], every[0]) and torch.equal(heard[1], every[2])
    assert [stage for stage, _ in source.calls] == [0, 1, 2] * 2
    gradients = [torch.autograd.grad(last.square().mean(), model.class_embedding)[0] for last in (every[2], heard[1])]
    torch.testing.assert_close(*gradients)


def test_no_gradient_flows_between_stages():
    """The second stage alone has the same gradient as when its mask prompt was a constant."""
    model = tiny_model()
    features = model.encode(tiny_image(model))
    clicks = clicks_of(model)
    first = model.refine(features, clicks, None)
    second = model.refine(features, clicks, first)
    (gradient,) = torch.autograd.grad(second.logits.sum(), first.logits, allow_unused=True)
    assert first.logits.requires_grad and gradient is None


@pytest.mark.parametrize("click_sigma", [0.0, 2.0])
def test_clicks_are_written_into_the_mask_prompt(click_sigma):
    """A click in a mask prompt acts although the point itself is hidden from the tokens."""
    model = tiny_model(click_sigma=click_sigma)
    features = model.encode(tiny_image(model))
    state = model.refine(features, clicks_of(model), None)
    if not click_sigma:
        assert state.clicks is None
        return
    assert state.clicks.shape == (2, 1, 8, 12, 16)
    again = model.refine(features, clicks_of(model), state)
    torch.testing.assert_close(again.clicks, 2 * state.clicks)
    points, labels = some_clicks(model)
    expected, _ = model.decode(features, points, labels, state.logits.detach() + 2 * state.clicks)
    assert torch.equal(again.logits, expected)


@pytest.mark.parametrize("changes", [{}, {"lora_rank": 2}, {"adapter": False}], ids=["scratch", "lora", "no adapter"])
def test_checkpointed_stages_give_the_same(changes):
    results = []
    for checkpoint_stages in (False, True):
        model = tiny_model(checkpoint_stages=checkpoint_stages, num_classes=2, **changes).train()
        stages = model(tiny_image(model), RecordingSource(clicks_of(model)), 3)
        sum(stage.square().mean() for stage in stages).backward()
        results.append((stages, {name: p.grad for name, p in model.named_parameters()}))
    (plain, gradients), (recomputed, again) = results
    for a, b in zip(plain, recomputed, strict=True):
        assert torch.equal(a, b)
    for name, gradient in gradients.items():
        if gradient is None:
            assert again[name] is None, name
        else:
            torch.testing.assert_close(again[name], gradient, rtol=1e-4, atol=1e-5)


def test_every_parameter_in_use_gets_a_gradient():
    model = distinct_classes(lora_rank=0)
    stages = model(tiny_image(model), RecordingSource(clicks_of(model)), 2)
    sum(stage.square().mean() for stage in stages).backward()
    without = {name for name, p in model.named_parameters() if p.grad is None}
    hypernetworks = {name for name in without if name.startswith("mask_decoder.output_hypernetworks_mlps.")}
    assert {name.split(".")[2] for name in hypernetworks} == {"1", "2", "3"}
    assert {name.rsplit(".", 1)[0] for name in without - hypernetworks} == {
        "mask_decoder.iou_prediction_head.layers.0",
        "mask_decoder.iou_prediction_head.layers.1",
        "mask_decoder.iou_prediction_head.layers.2",
        "mask_enhanced_adapter.add_norm4",
        "prompt_encoder.no_mask_embed",
    }


def test_state_dict_round_trip(tmp_path):
    model, other = distinct_classes(lora_rank=2), tiny_model(seed=1, num_classes=5, lora_rank=2)
    image = tiny_image(model)
    assert not torch.allclose(model(image), other(image))
    torch.save(model.state_dict(), tmp_path / "model.pth")
    other.load_state_dict(torch.load(tmp_path / "model.pth", weights_only=True))
    assert torch.equal(model(image), other(image))


def test_autocast_bfloat16():
    """The whole loop, forward and backward, close to float32 in its first stage."""
    model = tiny_model()
    image, source = tiny_image(model), RecordingSource(clicks_of(model))
    expected = model(image, source, 1)[0].detach()
    # Without oneDNN, whose bfloat16 weight gradient of a plain Conv3d now and then holds nan in PyTorch 2.13.
    with torch.backends.mkldnn.flags(enabled=False):
        with torch.autocast("cpu", torch.bfloat16):
            stages = model(image, source, 3)
            loss = sum(stage.float().square().mean() for stage in stages)
        loss.backward()
    assert relative_error(stages[0].float(), expected) <= 0.1
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


def test_mask_prior_shifts_every_mask_logit():
    model, shifted = tiny_model(mask_prior=0.0), tiny_model(mask_prior=-3.0)
    shifted.load_state_dict(model.state_dict())
    image, clicks = tiny_image(model), some_clicks(model)
    expected = model.decode(model.encode(image), *clicks)[0] - 3
    torch.testing.assert_close(shifted.decode(shifted.encode(image), *clicks)[0], expected)


@pytest.fixture
def fresh_compiler():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


@pytest.mark.parametrize(
    "changes",
    [{}, {"relative_position": "sammed3d", "patch_size": (32, 32, 32), "lora_rank": 2, "click_sigma": 0.0}],
    ids=["scratch", "released"],
)
def test_compiles_without_graph_breaks(fresh_compiler, changes):
    model = tiny_model(depth=1, decoder_depth=1, global_blocks=(), **changes)
    image, clicks = tiny_image(model), some_clicks(model)
    features = model.encode(image)
    mask = model.decode(features, *clicks)[0]
    encode = torch.compile(model.encode, backend="aot_eager", fullgraph=True)
    decode = torch.compile(model.decode, backend="aot_eager", fullgraph=True)
    compiled = encode(image)
    torch.testing.assert_close(compiled.embedding, features.embedding, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(decode(compiled, *clicks)[0], mask, rtol=1e-3, atol=1e-3)
    compiled_stage = decode(compiled, *clicks, mask.detach())[0]
    torch.testing.assert_close(compiled_stage, model.decode(features, *clicks, mask.detach())[0], rtol=1e-3, atol=1e-3)
    compiled_stage.square().mean().backward()
    assert model.class_embedding.grad.abs().max() > 0


@pytest.mark.parametrize("checkpoint_stages", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_compiled_network(fresh_compiler, checkpoint_stages):
    """As nnU-Net compiles it: the module itself, called with and without a prompt source."""
    model: MSAM = tiny_model(depth=1, decoder_depth=1, checkpoint_stages=checkpoint_stages).train()
    compiled = torch.compile(model, backend="aot_eager")
    image, source = tiny_image(model), RecordingSource(clicks_of(model))
    torch.testing.assert_close(compiled(image), model(image), rtol=1e-3, atol=1e-3)
    expected = model(image, source, 2)
    stages = compiled(image, source, 2)
    for ours, truth in zip(stages, expected, strict=True):
        torch.testing.assert_close(ours, truth, rtol=1e-3, atol=1e-3)
    sum(stage.square().mean() for stage in stages).backward()
    assert model.image_encoder.patch_embed.proj.weight.grad.abs().max() > 0


def test_compiled_network_really_compiles(fresh_compiler):
    graphs = []

    def backend(graph, inputs):
        graphs.append(len(graph.graph.nodes))
        return graph.forward

    model = tiny_model(depth=1, decoder_depth=1).eval()
    with torch.no_grad():
        torch.compile(model, backend=backend)(tiny_image(model))
    assert sum(graphs) > 100
