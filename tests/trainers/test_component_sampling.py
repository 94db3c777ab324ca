import pickle
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
from nnunetv2.utilities.label_handling.label_handling import LabelManager

from msam_nn.trainers.component_sampling import (
    VOXELS_PER_COMPONENT,
    ComponentDataset,
    balanced_locations,
    component_voxels,
)
from msam_nn.trainers.msam.trainer import MSAMTrainer


@pytest.fixture
def lesions():
    """20^3 voxels with a lesion of 8^3 = 512 voxels, one of 2^3 = 8, and a speck of one."""
    mask = np.zeros((20, 20, 20), dtype=bool)
    mask[1:9, 1:9, 1:9] = mask[15:17, 15:17, 15:17] = True
    mask[2, 18, 18] = True
    return mask


def counts_by_size(mask, voxels):
    large = (voxels[:, 1:] < 10).all(1).sum()
    small = (voxels[:, 1:] > 10).all(1).sum()
    return int(large), int(small), len(voxels) - int(large) - int(small)


def test_every_component_has_as_many_entries_but_specks_have_none(lesions):
    voxels = component_voxels(lesions)
    assert counts_by_size(lesions, voxels) == (VOXELS_PER_COMPONENT, VOXELS_PER_COMPONENT, 0)
    assert (voxels[:, 0] == 0).all() and lesions[tuple(voxels[:, 1:].T)].all()
    large = voxels[(voxels[:, 1:] < 10).all(1)]
    assert len(np.unique(large, axis=0)) == VOXELS_PER_COMPONENT


def test_a_class_that_is_only_a_speck_keeps_it(lesions):
    lesions[:, :, :10] = lesions[10:] = False
    assert np.unique(component_voxels(lesions), axis=0).tolist() == [[0, 2, 18, 18]]


def test_diagonal_neighbours_are_one_component():
    mask = np.zeros((4, 4, 4), dtype=bool)
    mask[0, 0, 0] = mask[1, 1, 1] = mask[2, 2, 2] = True
    assert len(component_voxels(mask)) == VOXELS_PER_COMPONENT


def test_regions_are_joined_and_the_annotated_area_and_absent_classes_stay(lesions):
    seg = lesions.astype(np.int8)
    seg[1:9, 1:9, 5:9] = 2
    annotated = np.zeros((5, 4), dtype=int)
    locations = {(1, 2): np.argwhere(seg[None] > 0), (2,): np.argwhere(seg[None] == 2), 3: [], (-1, 0, 1, 2): annotated}
    balanced = balanced_locations(locations, seg)
    assert len(balanced[(1, 2)]) == 2 * VOXELS_PER_COMPONENT
    assert len(balanced[(2,)]) == VOXELS_PER_COMPONENT and (seg[tuple(balanced[(2,)][:, 1:].T)] == 2).all()
    assert balanced[3] == [] and balanced[(-1, 0, 1, 2)] is annotated


class OneCase:
    """The part of nnU-Net's data set that the loader uses."""

    identifiers = ["case"]

    def __init__(self, seg):
        self.seg = seg[None].astype(np.int8)

    def load_case(self, identifier):
        properties = {"class_locations": {1: np.argwhere(self.seg)}, "spacing": (1, 1, 1)}
        return self.seg.astype(np.float32), self.seg, None, properties


def share_of_small(dataset, n=200):
    """How often nnU-Net's loader puts the small lesion into a patch placed on foreground."""
    labels = LabelManager({"background": 0, "lesion": 1}, None)
    loader = nnUNetDataLoader(dataset, 2, (6, 6, 6), (6, 6, 6), labels, oversample_foreground_percent=1.0)
    np.random.seed(0)
    patches = [next(loader)["target"] for _ in range(n // 2)]
    return float(np.mean([patch[i].sum() <= 8 for patch in patches for i in range(2)]))


def test_nnunets_loader_sees_small_lesions_as_often_as_large(lesions):
    assert share_of_small(OneCase(lesions)) < 0.1
    assert share_of_small(ComponentDataset(OneCase(lesions))) == pytest.approx(0.5, abs=0.1)


def test_components_are_found_once_per_case_and_travel_to_workers(lesions):
    dataset = ComponentDataset(OneCase(lesions))
    first = dataset.load_case("case")[3]
    assert first["spacing"] == (1, 1, 1)
    copy = pickle.loads(pickle.dumps(dataset))
    copy.dataset = SimpleNamespace(load_case=lambda i: (None, np.zeros((1, 2, 2, 2)), None, {"class_locations": {}}))
    assert copy.load_case("case")[3]["class_locations"][1].tolist() == first["class_locations"][1].tolist()


@pytest.mark.parametrize("by_component", [True, False])
def test_the_trainer_samples_components_unless_switched_off(phantom_plans, by_component, monkeypatch):
    plans, dataset_json = phantom_plans
    monkeypatch.setattr(MSAMTrainer, "sample_components", by_component)
    plans["configurations"]["3d_fullres"]["oversample_foreground_percent"] = 0.7
    trainer = MSAMTrainer(plans, "3d_fullres", 0, dataset_json, torch.device("cpu"))
    trainer.initialize()
    training, validation = trainer.get_tr_and_val_datasets()
    assert isinstance(training, ComponentDataset) is by_component and not isinstance(validation, ComponentDataset)
    assert (trainer.oversample_foreground_percent, trainer.probabilistic_oversampling) == (0.7, True)
    batch = next(trainer.get_dataloaders()[0])
    assert batch["data"].shape == (2, 1, 16, 32, 32)


def test_plans_of_other_planners_keep_nnunets_oversampling(phantom_plans):
    plans, dataset_json = phantom_plans
    plans["configurations"]["3d_fullres"].pop("oversample_foreground_percent")
    trainer = MSAMTrainer(plans, "3d_fullres", 0, dataset_json, torch.device("cpu"))
    assert (trainer.oversample_foreground_percent, trainer.probabilistic_oversampling) == (0.33, False)


def test_cropping_to_a_class_changes_no_voxel():
    seg = np.random.default_rng(0).integers(-1, 4, (12, 14, 16)).astype(np.int16)
    seg[:, :3] = seg[:4] = 0
    seg[seg == 3] = 0
    locations = {1: np.zeros((1, 4)), (1, 2): np.zeros((1, 4)), 3: [], (-1, 1): np.ones((1, 4))}
    balanced = balanced_locations(locations, seg)
    for key in (1, (1, 2)):
        whole = component_voxels(np.isin(seg, np.atleast_1d(key)))
        assert np.array_equal(balanced[key], whole)
    assert balanced[3] == [] and balanced[-1, 1].all()
