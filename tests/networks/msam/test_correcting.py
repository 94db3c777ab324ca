import pytest
import torch

from msam_nn.networks import Points
from msam_nn.networks.decoding.corrections import follow_points
from msam_nn.networks.msam import CorrectingMSAM
from msam_nn.prompts import Recorder, SimulatedClicks
from msam_nn.trainers.clicks.sessions import ClickRecipe

from ..golden import tiny_config, tiny_image, tiny_model

CORRECTING = dict(pyramid=(4, 6, 8), initial_masks=True, click_sigma=2.0)


def fresh(deep_supervision=False, **changes):
    """As a training begins, unlike ``tiny_model``, where every parameter matters."""
    torch.manual_seed(0)
    return CorrectingMSAM(tiny_config(**CORRECTING, **changes), deep_supervision)


def click(model, voxel=(3, 5, 7), label=1, classes=None):
    shape = (2, classes or model.num_classes, 1)
    return Points(torch.tensor(voxel).expand(*shape, 3), torch.full(shape, label))


def test_the_automatic_prediction_is_the_mask_before_any_prompt():
    model = tiny_model(**CORRECTING, num_classes=2)
    image = tiny_image(model)
    stages = model(image, lambda stage, masks: None, 2)
    torch.testing.assert_close(model(image), stages[0])
    assert torch.equal(*stages) and not stages[0][:, 0].any()


def test_deep_supervision_gives_every_level_finer_than_the_tokens():
    model = tiny_model(**CORRECTING, num_classes=2)
    model.deep_supervision = True
    image = tiny_image(model)
    shapes = [(2, 3, 16, 24, 32), (2, 3, 8, 12, 16), (2, 3, 4, 6, 8)]
    assert [tuple(output.shape) for output in model(image)] == shapes
    outputs, stages = model(image, lambda stage, masks: click(model) if stage else None, 3, None, range(1))
    assert [tuple(output.shape) for output in outputs] == shapes and len(stages) == 2
    assert len(model.eval()(image, lambda stage, masks: click(model), 2)) == 2


def test_masks_start_rare():
    model = fresh(mask_prior=-3.0)
    assert -4 < model(tiny_image(model))[:, 1:].mean() < -2


@pytest.mark.parametrize(("label", "prior"), [(1, -3.0), (0, 3.0)])
def test_before_training_the_mask_follows_clicks_by_the_rule(label, prior):
    model = fresh(mask_prior=prior)
    features = model.encode(tiny_image(model))
    before = model.refine(features, None, None)
    after = model.refine(features, click(model, label=label), before)
    followed = follow_points(before.logits, click(model, label=label), unit=model.voxels_per_length).masks
    assert torch.equal(after.logits, followed)
    assert not torch.equal(after.logits, before.logits)


def test_a_click_acts_in_its_own_stage_only():
    model = fresh(mask_prior=-3.0)
    features = model.encode(tiny_image(model))
    first = model.refine(features, click(model), model.refine(features, None, None))
    second = model.refine(features, click(model, voxel=(15, 23, 31)), first)
    added = (model.masks(second) - model.masks(first)).detach()
    assert added[0, 0, 3, 5, 7].abs() < 0.01 and added[0, 0, 15, 23, 31] > 1


def test_what_is_learned_acts_where_the_click_acts():
    """A click beside the border of a mask leaves the far end of the patch as it was, whatever the weights."""
    model = tiny_model(**CORRECTING)
    masks = torch.full((2, 1, 16, 24, 32), -2.0)
    masks[:, :, :3] = 2.0
    after = model.refine(model.encode(tiny_image(model)), click(model, (3, 5, 7)), model.resume(masks))
    followed = follow_points(masks, click(model, (3, 5, 7)), unit=model.voxels_per_length).masks
    learned = (after.logits - followed).detach().abs()
    assert learned[:, 0, 3, 5, 7].min() > 1e-3
    assert learned[:, 0, 15, 23, 31].max() < 1e-4


def test_once_practised_the_network_around_clicks_answers_alone(monkeypatch):
    """Where there is a border; without one the mask decoder is asked as before."""
    model = tiny_model(**CORRECTING)
    features, clicks = model.encode(tiny_image(model)), click(model, (3, 5, 7))
    masks = torch.full((2, 1, 16, 24, 32), -2.0)
    nothing = model.resume(masks.clone())
    masks[:, :, :3] = 2.0
    before, unsized = (model.refine(features, clicks, state).logits for state in (model.resume(masks), nothing))
    model.neighbourhood.set_practised(True)
    assert torch.equal(model.refine(features, clicks, nothing).logits, unsized)
    monkeypatch.delattr(type(model), "correction")
    after = model.refine(features, clicks, model.resume(masks)).logits
    assert not torch.equal(after, before)
    assert not torch.equal(after, follow_points(masks, clicks, unit=model.voxels_per_length).masks)


def test_a_class_without_a_click_stays_as_it_is():
    model = tiny_model(**CORRECTING, num_classes=2)
    features = model.encode(tiny_image(model))
    before = model.refine(features, None, None)
    points, labels = click(model)
    labels = labels.clone()
    labels[:, 1] = -1
    after = model.refine(features, Points(points, labels), before)
    assert torch.equal(after.logits[:, 1], before.logits[:, 1])
    assert not torch.equal(after.logits[:, 0], before.logits[:, 0])


def test_a_first_click_starts_from_nothing_and_other_classes_from_the_initial_mask():
    model = fresh(num_classes=2, mask_prior=-3.0)
    features = model.encode(tiny_image(model))
    points, labels = click(model)
    labels = labels.clone()
    labels[:, 1] = -1
    masks = model.masks(model.refine(features, Points(points, labels), None))
    assert masks[0, 0, 15, 23, 31].abs() < 0.01
    assert torch.equal(masks[:, 1], features.masks[0][:, 1])


def test_chosen_classes_are_refined_like_all():
    model = tiny_model(**CORRECTING, num_classes=3)
    features = model.encode(tiny_image(model))
    whole = model.refine(features, click(model), model.refine(features, None, None))
    classes = torch.tensor([2, 0])
    state = model.refine(features, None, None, classes)
    part = model.refine(features, click(model, classes=2), state, classes)
    torch.testing.assert_close(part.logits, whole.logits[:, classes], rtol=1e-4, atol=1e-4)


def test_stages_are_learned_from_but_not_through():
    model = tiny_model(**CORRECTING)
    features = model.encode(tiny_image(model))
    first = model.refine(features, click(model), model.refine(features, None, None))
    second = model.refine(features, click(model, (9, 9, 9)), first)
    second.logits.sum().backward()
    assert all(head.weight.grad is None for head in model.initial_decoder.heads)
    assert model.initial_decoder.mixes[-1][0].weight.grad.abs().sum() > 0


def test_recomputed_stages_give_the_same_gradients():
    gradients = []
    for checkpoint in (False, True):
        model = tiny_model(**CORRECTING, checkpoint_stages=checkpoint)
        stages = model(tiny_image(model), lambda stage, masks, model=model: click(model) if stage else None, 3)
        sum(stage.square().mean() for stage in stages).backward()
        gradients.append(model.class_embedding.grad)
    torch.testing.assert_close(*gradients)


def test_what_cannot_have_initial_masks_is_refused():
    with pytest.raises(ValueError, match="initial_masks needs a pyramid"):
        tiny_config(initial_masks=True)
    with pytest.raises(ValueError, match="an encoder that trains"):
        tiny_config(**CORRECTING, freeze_encoder=True)


def test_sessions_of_all_kinds_run_on_a_compiled_network():
    """As nnU-Net compiles it on a GPU. The compiler's front end, which fails or recompiles, is the same on a CPU."""
    graphs = []

    def backend(graph, _):
        graphs.append(graph)
        return graph.forward

    torch.compiler.reset()
    model = fresh(num_classes=2, deep_supervision=True).train()
    model.freeze_multimask_output()
    compiled = torch.compile(model, backend=backend)
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(2, 2, *model.patch_size, generator=generator) > 0.9
    for step in range(14):
        session = ClickRecipe(p_automatic=0.5).draw(
            n_auto_stages=1, n_click_stages=3, progress=step / 14, generator=generator
        )
        silent = range(max(session.first_click, session.silent.stop))
        user = SimulatedClicks(
            target, first_click=session.first_click, p_central=0.5, reach=model.click_reach, generator=generator
        )
        _, stages = compiled(tiny_image(model), Recorder(user, silent), session.n_stages, None, silent)
        assert len(stages) == session.n_stages - len(silent)
    torch.compiler.reset()
    assert 0 < len(graphs) <= 16
