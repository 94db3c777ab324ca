import json
from functools import partial
from itertools import pairwise

import pytest
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from msam_nn.errors import UnsupportedError, UserError
from msam_nn.inference.prompted import PromptedPredictor
from msam_nn.inference.prompting import image as prompted_image
from msam_nn.inference.prompting.clicks import Click
from msam_nn.networks.following import FollowingNetwork
from msam_nn.trainers.msam.trainer import MSAMTrainer

from .fake_network import growing_predictor

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


def test_folds_are_averaged_as_nnunet_does(make_predictor):
    x = image(16, 32, 32)
    both, single = make_predictor(folds=2), make_predictor()
    averaged = both.set_image(x)
    assert not torch.equal(averaged, single.set_image(x))
    assert torch.equal(averaged, both.predict_logits_from_preprocessed_data(x).float())


def test_two_classes_that_half_precision_tells_apart_stay_apart(make_predictor, monkeypatch):
    """Background is not 0 in a U-Net's logits: 18 and 18.0078 would be one number in half precision."""
    predictor = make_predictor()
    logits = torch.tensor([-9, 9, 9.0078]).half().view(3, 1, 1, 1).repeat(1, *PATCH)
    monkeypatch.setattr(predictor, "predict_sliding_window_return_logits", lambda image: logits.clone())
    found = predictor.set_image(image(*PATCH))
    assert (found.argmax(0) == 2).all() and found[2, 0, 0, 0] - found[1, 0, 0, 0] == logits[2, 0, 0, 0] - 9


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


def bright(shape, *boxes):
    x = torch.zeros(1, *shape)
    for box in boxes:
        x[(0, *(slice(*axis) for axis in box))] = 1
    return x


ROD = ((6, 9), (5, 8), (2, 75))
NEIGHBOUR = ((6, 9), (20, 23), (2, 75))


def segmented(logits):
    return logits.argmax(0).bool()


def test_neighbouring_windows_continue_an_object_until_it_stops():
    predictor = growing_predictor()
    x = bright((16, 30, 80), ROD, NEIGHBOUR)
    assert not segmented(predictor.set_image(x, automatic=False)).any()
    found = segmented(predictor.add_click(Click(0, (7, 6, 40), True)))
    assert torch.equal(found, bright((16, 30, 80), ROD)[0].bool())
    assert predictor.unfinished == []


def test_a_winding_object_is_followed():
    shape = (60, 60, 16)
    turns = [((5, 55), (5, 8), (5, 8)), ((52, 55), (5, 50), (5, 8)), ((20, 55), (47, 50), (5, 8))]
    predictor = growing_predictor()
    predictor.set_image(bright(shape, *turns), automatic=False)
    found = segmented(predictor.add_click(Click(0, (6, 6, 6), True)))
    assert torch.equal(found, bright(shape, *turns)[0].bool())


def test_the_number_of_windows_is_bounded_and_said(monkeypatch):
    monkeypatch.setattr(prompted_image, "MAX_WINDOWS", 3)
    predictor = growing_predictor()
    predictor.set_image(bright((16, 16, 200), ((6, 9), (5, 8), (0, 200))), automatic=False)
    predictor.add_click(Click(0, (7, 6, 100), True))
    assert predictor.network.encoded == 3
    # Windows at 92..107, then 16 wide around their ends 92 and 107: 84..99 and 99..114.
    assert predictor.unfinished == [(0, (7, 6, 84))]
    predictor.undo()
    assert predictor.unfinished == []


def test_a_box_limits_the_object_and_may_be_larger_than_a_window():
    predictor = growing_predictor()
    predictor.set_image(bright((16, 30, 80), ROD, NEIGHBOUR), automatic=False)
    found = segmented(predictor.add_box(0, ((4, 12), (3, 10), (10, 60))))
    assert torch.equal(found, bright((16, 30, 80), ((6, 9), (5, 8), (10, 60)))[0].bool())


def test_a_mask_needs_no_network_and_other_classes_give_way():
    predictor = growing_predictor(num_classes=2)
    predictor.set_image(bright((16, 30, 80), ROD), automatic=False)
    first, second = bright((16, 30, 80), ROD)[0], bright((16, 30, 80), ((0, 16), (0, 30), (70, 80)))[0]
    predictor.set_mask(0, first)
    labels = predictor.set_mask(1, second).argmax(0)
    assert torch.equal(labels == 2, second.bool())
    assert torch.equal(labels == 1, first.bool() & ~second.bool())
    assert predictor.network.encoded == 0


def test_a_negative_click_on_an_empty_mask_runs_nothing_but_holds():
    predictor = growing_predictor()
    predictor.set_image(bright((16, 30, 80), ROD), automatic=False)
    assert not segmented(predictor.add_click(Click(0, (7, 6, 40), False))).any()
    assert predictor.network.encoded == 0
    assert not segmented(predictor.add_click(Click(0, (7, 6, 30), True)))[7, 6, 40]


def test_a_click_near_another_one_encodes_nothing():
    predictor = growing_predictor()
    predictor.set_image(bright((16, 16, 80), ((6, 9), (5, 8), (36, 44))), automatic=False)
    for x in (40, 42, 37):
        predictor.add_click(Click(0, (7, 6, x), True))
    assert predictor.network.encoded == 1


@pytest.mark.parametrize("automatic", [True, False])
def test_undo_restores_bit_for_bit_and_reset_all(make_predictor, automatic):
    predictor = make_predictor()
    states = [predictor.set_image(image(20, 40, 50), automatic=automatic)]
    states.append(predictor.add_points([Click(0, (3, 4, 5), True), Click(1, (10, 20, 30), True)]))
    states.append(predictor.add_box(1, ((2, 9), (3, 30), (20, 41))))
    states.append(predictor.add_click(Click(0, (4, 4, 5), False)))
    states.append(predictor.set_mask(0, torch.rand(20, 40, 50)))
    assert all(not torch.equal(a, b) for a, b in pairwise(states))
    assert torch.equal(predictor.predict(), states[-1])
    for state in reversed(states[:-1]):
        assert torch.equal(predictor.undo(), state)
    with pytest.raises(UserError, match="nothing to undo"):
        predictor.undo()
    predictor.add_click(Click(0, (3, 4, 5), True))
    assert torch.equal(predictor.reset(), states[0])


def test_a_failing_network_leaves_no_trace(make_predictor, monkeypatch):
    predictor = make_predictor()
    before = predictor.set_image(image(16, 32, 50), automatic=False)
    refine, calls = predictor.image._refiner.refine, []

    def fail_second(*arguments):
        calls.append(1)
        if len(calls) == 2:
            raise RuntimeError("out of memory")
        return refine(*arguments)

    monkeypatch.setattr(predictor.image._refiner, "refine", fail_second)
    with pytest.raises(RuntimeError):
        predictor.add_points([Click(0, (3, 4, 5), True), Click(0, (3, 4, 45), True)])
    assert torch.equal(predictor.logits, before)


def test_folds_and_mirroring_refine_clicked_windows_together(make_predictor):
    predictor = make_predictor(folds=2)
    predictor.mirror_windows, predictor.allowed_mirroring_axes = True, (0, 1, 2)
    predictor.set_image(image(16, 32, 32), automatic=False)
    predictor.add_click(Click(0, (3, 4, 5), True))
    assert len(predictor.cache.kept()) == 2 * 8


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda p: p.add_box(0, ((0, 16), (0, 32), (0, 33))), "leaves the image"),
        (lambda p: p.add_box(0, ((3, 3), (0, 32), (0, 32))), "is empty"),
        (lambda p: p.add_box(5, ((0, 16), (0, 32), (0, 32))), "classes 0 to 1"),
        (lambda p: p.set_mask(0, torch.zeros(16, 32, 31)), r"\(16, 32, 31\) voxels"),
    ],
)
def test_impossible_boxes_and_masks_are_refused(make_predictor, act, message):
    predictor = make_predictor()
    predictor.set_image(image(16, 32, 32), automatic=False)
    with pytest.raises(UserError, match=message):
        act(predictor)


def counted(network, calls):
    network.register_forward_hook(lambda *_: calls.append(1))
    return network


@pytest.fixture
def nnunet_results(phantom_plans, small_unets, tmp_path):
    """A folder as ``nnUNetv2_train`` leaves it, with two folds of a plain U-Net."""
    plans, dataset_json = phantom_plans
    plans["configurations"]["3d_fullres"]["architecture"] = small_unets["plain"]
    for name, content in (("plans.json", plans), ("dataset.json", dataset_json)):
        (tmp_path / name).write_text(json.dumps(content))
    manager = PlansManager(plans)
    for fold in range(2):
        torch.manual_seed(fold)
        network = nnUNetTrainer.build_network_architecture(manager, manager.get_configuration("3d_fullres"), 1, 3)
        checkpoint = {"network_weights": network.state_dict(), "trainer_name": "nnUNetTrainer"}
        checkpoint |= {"init_args": {"configuration": "3d_fullres"}, "inference_allowed_mirroring_axes": (0, 2)}
        (tmp_path / f"fold_{fold}").mkdir()
        torch.save(checkpoint, tmp_path / f"fold_{fold}" / "checkpoint_final.pth")
    return tmp_path


def loaded(folder, predictor_class=PromptedPredictor, folds=(0, 1)):
    predictor = predictor_class(device=torch.device("cpu"), use_mirroring=False, allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(folder), folds)
    return predictor


def test_an_nnunet_that_never_saw_a_click_predicts_as_it_does(nnunet_results):
    x = image(20, 40, 32)
    expected = loaded(nnunet_results, nnUNetPredictor).predict_logits_from_preprocessed_data(x).float()
    logits = loaded(nnunet_results).set_image(x)
    assert torch.allclose(logits, expected - expected[:1], atol=1e-2)  # nnU-Net sums in half precision
    assert torch.equal(logits.argmax(0), expected.argmax(0))


def test_clicks_on_an_nnunets_masks_hold_and_run_no_network(nnunet_results):
    predictor, calls = loaded(nnunet_results), []
    before = predictor.set_image(image(20, 40, 32)).argmax(0)
    for network in predictor.networks():
        counted(network.network, calls)
    voxels = [(0, 0, 0), (10, 20, 16), (19, 39, 31)]
    for voxel in voxels:
        logits = predictor.add_click(Click(1, voxel, positive=int(before[voxel]) != 2))
    assert all((int(logits[(slice(None), *v)].argmax()) == 2) != (int(before[v]) == 2) for v in voxels)
    assert calls == []


def test_clicks_on_nothing_ask_an_nnunet_once_a_window_and_fold(nnunet_results):
    predictor, calls = loaded(nnunet_results), []
    predictor.set_image(image(16, 32, 32), automatic=False)
    for network in predictor.networks():
        counted(network.network, calls)
    for voxel in ((8, 16, 16), (4, 20, 10)):
        assert predictor.add_click(Click(0, voxel, True))[(slice(None), *voxel)].argmax() == 1
    assert len(calls) == 2


def test_a_compiled_nnunet_stays_compiled(nnunet_results, monkeypatch):
    monkeypatch.setenv("nnUNet_compile", "1")
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    predictor = loaded(nnunet_results, folds=(0,))
    assert predictor.network is not predictor.promptable and isinstance(predictor.promptable, FollowingNetwork)
    monkeypatch.delenv("nnUNet_compile")
    x = image(16, 32, 32)
    assert torch.allclose(predictor.set_image(x), loaded(nnunet_results, folds=(0,)).set_image(x), atol=1e-5)


def test_2d_models_are_refused(nnunet_results):
    plans = json.loads((nnunet_results / "plans.json").read_text())
    plans["configurations"]["3d_fullres"]["patch_size"] = [32, 32]
    (nnunet_results / "plans.json").write_text(json.dumps(plans))
    with pytest.raises(UnsupportedError, match="is 2D"):
        loaded(nnunet_results)
