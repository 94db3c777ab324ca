import pytest
import torch
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from msam_nn.errors import UserError
from msam_nn.inference.clicks import Click
from msam_nn.inference.prompted import PromptedPredictor
from msam_nn.trainers.msam_trainer import MSAMTrainer

PATCH = (16, 32, 32)


@pytest.fixture
def make_predictor(phantom_plans):
    def make(folds=1):
        plans = PlansManager(phantom_plans[0])
        configuration = plans.get_configuration("3d_fullres")
        parameters = []
        for seed in range(folds):
            torch.manual_seed(seed)
            network = MSAMTrainer.build_network_architecture(plans, configuration, 1, 3)
            parameters.append({name: tensor.clone() for name, tensor in network.state_dict().items()})
        predictor = PromptedPredictor(device=torch.device("cpu"), use_mirroring=False, allow_tqdm=False)
        predictor.manual_initialization(
            network, plans, configuration, parameters, phantom_plans[1], "MSAMTrainer", None
        )
        return predictor

    return make


def image(*shape):
    return torch.randn(1, *shape, generator=torch.Generator().manual_seed(1))


def test_without_clicks_it_is_nnunets_prediction(make_predictor):
    predictor = make_predictor()
    x = image(20, 40, 32)
    automatic = predictor.predict_sliding_window_return_logits(x).float()
    assert torch.allclose(predictor.set_image(x), automatic, atol=1e-6)


@pytest.mark.parametrize("shape", [(20, 40, 50), (16, 32, 32), (9, 40, 20)])
@pytest.mark.parametrize("positive", [True, False])
def test_every_click_holds_whatever_the_image_size(make_predictor, shape, positive):
    predictor = make_predictor()
    predictor.set_image(image(*shape))
    voxels = [(0, 0, 0), tuple(n - 1 for n in shape), tuple(n // 2 for n in shape)]
    for voxel in voxels:
        logits = predictor.add_click(Click(1, voxel, positive))
        assert logits.shape == (3, *shape)
    classes = [int(logits[(slice(None), *v)].argmax()) for v in voxels]
    assert all((c == 2) == positive for c in classes)


def test_a_click_changes_only_its_class_and_its_window(make_predictor):
    predictor = make_predictor()
    before = predictor.set_image(image(16, 32, 100))
    after = predictor.add_click(Click(0, (8, 16, 10), True))
    changed = (before != after).any(dim=1).any(dim=1)
    assert changed[1].any() and not changed[0].any() and not changed[2].any()
    # The window spans 32 voxels and the bump of an overlooked click is below 1e-6 beyond five standard deviations (30).
    assert (before - after)[1, :, :, 10 + 32 :].abs().max() < 1e-4


def test_a_window_is_encoded_once(make_predictor, monkeypatch):
    predictor = make_predictor()
    predictor.set_image(image(16, 32, 32))
    calls = []
    encode = predictor.network.encode
    monkeypatch.setattr(predictor.network, "encode", lambda x: calls.append(1) or encode(x))
    for voxel in ((3, 4, 5), (12, 20, 30), (8, 8, 8)):
        predictor.add_click(Click(0, voxel, True))
    assert len(calls) == 1


def test_a_new_image_forgets_the_clicks(make_predictor):
    predictor = make_predictor()
    x = image(16, 32, 32)
    first = predictor.set_image(x)
    predictor.add_click(Click(0, (3, 4, 5), True))
    assert torch.equal(predictor.set_image(x), first)


def test_folds_are_averaged(make_predictor):
    x = image(16, 32, 32)
    both = make_predictor(folds=2)
    singles = []
    for parameters in both.list_of_parameters:
        single = make_predictor()
        single.list_of_parameters = [parameters]
        singles.append(single.set_image(x))
    assert torch.allclose(both.set_image(x), torch.stack(singles).mean(0), atol=1e-6)


@pytest.mark.parametrize(
    ("click", "message"),
    [
        (Click(0, (16, 0, 0), True), "outside the image"),
        (Click(0, (0, -1, 0), True), "outside the image"),
        (Click(2, (0, 0, 0), True), "classes 0 to 1"),
    ],
)
def test_impossible_clicks_are_refused_and_leave_no_trace(make_predictor, click, message):
    predictor = make_predictor()
    before = predictor.set_image(image(16, 32, 32))
    with pytest.raises(UserError, match=message):
        predictor.add_click(click)
    assert torch.equal(predictor.logits, before)


def test_a_click_needs_an_image(make_predictor):
    with pytest.raises(UserError, match="set_image"):
        make_predictor().add_click(Click(0, (0, 0, 0), True))
