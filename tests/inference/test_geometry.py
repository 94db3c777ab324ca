"""Clicks and predictions between a file's grid and the network's, in every orientation and with every reader."""

from itertools import permutations, product

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from nnunetv2.inference.export_prediction import export_prediction_from_logits
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from msam_nn import nnunet_hook
from msam_nn.errors import UserError
from msam_nn.inference.geometry import ImageGeometry

nnunet_hook.activate()
ORIENTATIONS = list(product(permutations(range(3)), product((1, -1), repeat=3)))
READERS = ("SimpleITKIO", "NibabelIO", "NibabelIOWithReorient")
DATASET_JSON = {
    "channel_names": {"0": "noNorm", "1": "noNorm", "2": "noNorm"},
    "labels": {"background": 0, "tumour": 1},
    "file_ending": ".nii.gz",
}


def plans_manager(reader, transpose, spacing, preprocessor):
    resampling = {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": False}
    configuration = {
        "preprocessor_name": preprocessor,
        "spacing": list(spacing),
        "normalization_schemes": ["NoNormalization"] * 3,
        "use_mask_for_norm": [False] * 3,
        "batch_size": 2,
        "patch_size": [32, 32, 32],
        "architecture": {"network_class_name": "none", "arch_kwargs": {}, "_kw_requires_import": []},
    }
    for what in ("data", "seg", "probabilities"):
        configuration[f"resampling_fn_{what}"] = "resample_data_or_seg_to_shape"
        configuration[f"resampling_fn_{what}_kwargs"] = {**resampling, "is_seg": what == "seg"}
    return PlansManager(
        {
            "plans_name": "TestPlans",
            "dataset_name": "Dataset903_Test",
            "image_reader_writer": reader,
            "transpose_forward": list(transpose),
            "transpose_backward": np.argsort(transpose).tolist(),
            "configurations": {"3d_fullres": configuration},
            "label_manager": "LabelManager",
            "foreground_intensity_properties_per_channel": {str(i): {} for i in range(3)},
        }
    )


def pretrained_plans(spacing=1.5):
    return plans_manager("NibabelIOWithReorient", (2, 1, 0), [spacing] * 3, "SAMMed3DPreprocessor")


def affine_of(axes, signs, spacing, origin=(-31.0, 12.5, 8.0)):
    """Array axis ``i`` ``(x, y, z)`` runs along world axis ``axes[i]`` of RAS, in the direction ``signs[i]``."""
    affine = np.eye(4)
    affine[:3, :3] = 0
    for i in range(3):
        affine[axes[i], i] = spacing[i] * signs[i]
    affine[:3, 3] = origin
    return affine


def save(path, array_xyz, affine):
    nibabel.save(nibabel.Nifti1Image(array_xyz.astype(np.float32), affine), path)
    return str(path)


def preprocess(manager, files):
    configuration = manager.get_configuration("3d_fullres")
    data, _, properties = configuration.preprocessor_class(verbose=False).run_case(
        files, None, manager, configuration, DATASET_JSON
    )
    return data, properties


def export(manager, logits, properties, path):
    configuration = manager.get_configuration("3d_fullres")
    arguments = (logits, properties, configuration, manager, DATASET_JSON, str(path).removesuffix(".nii.gz"))
    export_prediction_from_logits(*arguments, num_threads_torch=1)
    return nibabel.load(path)


def binary_logits(mask):
    return torch.from_numpy(np.stack([np.zeros(mask.shape), np.where(mask, 5.0, -5.0)]).astype(np.float32))


def world_coordinates(path, shape_xyz, affine):
    """Three images that hold the LPS coordinates of their own voxels, as SimpleITK gives them."""
    reference = sitk.ReadImage(save(path / "reference.nii.gz", np.zeros(shape_xyz), affine))
    world = np.empty((3, *shape_xyz))
    for index in np.ndindex(*shape_xyz):
        world[(slice(None), *index)] = reference.TransformIndexToPhysicalPoint([int(i) for i in index])
    return reference, [save(path / f"case_{c:04d}.nii.gz", world[c], affine) for c in range(3)]


@pytest.mark.parametrize("axes, signs", ORIENTATIONS)
def test_prediction_comes_back_on_the_grid_of_the_file(tmp_path, axes, signs):
    """Without resampling, so the mask has to be the same voxel for voxel."""
    volume = np.random.default_rng(0).normal(size=(7, 9, 12)) + 0.01
    affine = affine_of(axes, signs, (1.5, 1.5, 1.5))
    manager = pretrained_plans()
    data, properties = preprocess(manager, [save(tmp_path / f"case_{c:04d}.nii.gz", volume, affine) for c in range(3)])
    predicted = export(manager, binary_logits(data[0] > 0.5), properties, tmp_path / "out.nii.gz")
    np.testing.assert_array_equal(predicted.get_fdata() > 0, volume > 0.5)
    np.testing.assert_allclose(predicted.affine, affine, atol=1e-5)


@pytest.mark.parametrize("axes, signs", ORIENTATIONS[::5])
def test_prediction_comes_back_through_resampling(tmp_path, axes, signs):
    shape, spacing = (40, 30, 14), (0.75, 1.0, 3.0)
    affine = affine_of(axes, signs, spacing)
    centre = np.array([18, 17, 7])
    distance = sum(((i - c) * s) ** 2 for i, c, s in zip(np.indices(shape), centre, spacing, strict=True)) ** 0.5
    volume = 20.0 - distance
    manager = pretrained_plans()
    data, properties = preprocess(manager, [save(tmp_path / f"case_{c:04d}.nii.gz", volume, affine) for c in range(3)])
    predicted = export(manager, binary_logits(data[0] > 10), properties, tmp_path / "out.nii.gz").get_fdata() > 0
    truth = distance < 10
    assert 2 * (predicted & truth).sum() / (predicted.sum() + truth.sum()) > 0.95
    np.testing.assert_allclose(np.argwhere(predicted).mean(0), np.argwhere(truth).mean(0), atol=0.1)


@pytest.mark.parametrize("axes, signs", ORIENTATIONS)
@pytest.mark.parametrize("reader", READERS)
def test_clicks_arrive_where_the_user_clicked(tmp_path, reader, axes, signs):
    """The preprocessed images hold world coordinates, so they tell where each network voxel lies."""
    shape_xyz, spacing_xyz = (10, 12, 6), (1.0, 0.8, 2.5)
    reference, files = world_coordinates(tmp_path, shape_xyz, affine_of(axes, signs, spacing_xyz))
    manager = plans_manager(reader, (1, 2, 0), (1.2, 1.5, 0.9), "SAMMed3DPreprocessor")
    data, properties = preprocess(manager, files)
    geometry = ImageGeometry.from_properties(properties, manager.transpose_forward, data.shape[1:])
    assert geometry.file_shape == shape_xyz[::-1]
    inner = [np.arange(2, n - 2) for n in geometry.network_shape]  # border voxels repeat the edge of the image
    for voxel in product(*(axis[[0, -1]] for axis in inner)):
        np.testing.assert_allclose(geometry.network_to_world(voxel), data[(slice(None), *voxel)], atol=2e-3)
    half_voxel = 0.5 * np.abs(
        np.diff([geometry.network_to_world((0, 0, 0)), geometry.network_to_world((1, 1, 1))], axis=0)
    )
    for index_xyz in product((0, 4, 9), (0, 3, 11), (0, 2, 5)):
        world = reference.TransformIndexToPhysicalPoint(index_xyz)
        voxel = geometry.file_to_network(index_xyz[::-1])
        assert voxel == geometry.world_to_network(world)
        assert (np.abs(np.array(geometry.network_to_world(voxel)) - world) <= half_voxel + 1e-3).all()
    for voxel in product(*(range(n) for n in geometry.network_shape)):
        file_voxel = geometry.network_to_file(voxel)
        world = reference.TransformIndexToPhysicalPoint([int(i) for i in file_voxel[::-1]])
        offset = np.abs(np.array(world) - geometry.network_to_world(voxel))[list(axes)]
        assert (offset <= 0.5 * np.array(spacing_xyz) + 1e-3).all()


def by_hand(**changes):
    """SimpleITKIO, 20 x 10 x 8 voxels (x, y, z) of (1, 2, 3) mm; network axes (x, z, y); cropped, then resampled."""
    properties = {
        "sitk_stuff": {"spacing": (1, 2, 3), "origin": (100, 200, 300), "direction": (1, 0, 0, 0, 1, 0, 0, 0, 1)},
        "shape_before_cropping": (20, 8, 10),
        "bbox_used_for_cropping": [[4, 16], [0, 8], [2, 10]],
        "shape_after_cropping_and_before_resampling": (12, 8, 8),
        **changes,
    }
    return ImageGeometry.from_properties(properties, (2, 0, 1), (6, 16, 8))


def test_values_worked_out_by_hand():
    geometry = by_hand()
    assert geometry.file_shape == (8, 10, 20)
    # x: 9 - 4 = 5, its centre 5.5 of 12 is 2.75 of 6; z: 3.5 of 8 is 7.0 of 16, where 6 and 7 meet; y: 5 - 2 = 3
    assert geometry.file_to_network((3, 5, 9)) == (2, 7, 3)
    assert geometry.world_to_network((109, 210, 309)) == (2, 7, 3)
    # a quarter of a slice up or down it is clearly one of the slice's two network voxels
    assert geometry.world_to_network((109, 210, 309.75)) == (2, 7, 3)
    assert geometry.world_to_network((109, 210, 308.25)) == (2, 6, 3)
    assert geometry.network_to_file((2, 7, 3)) == (3, 5, 9)
    # network voxel 2 along x is 4..6 of the crop, centre at file index 4 + 5 - 0.5
    assert geometry.network_to_world((2, 7, 3)) == pytest.approx((108.5, 210, 309.75))


def test_flipped_direction():
    stuff = {"spacing": (1, 2, 3), "origin": (100, 200, 300), "direction": (-1, 0, 0, 0, 1, 0, 0, 0, 1)}
    assert by_hand(sitk_stuff=stuff).world_to_network((91, 210, 309.75)) == (2, 7, 3)


def test_points_outside_are_refused():
    geometry = by_hand()
    with pytest.raises(UserError, match=r"\(8, 5, 9\).* outside the image"):
        geometry.file_to_network((8, 5, 9))
    with pytest.raises(UserError, match="outside the image"):
        geometry.file_to_network((3, -1, 9))
    with pytest.raises(UserError, match="LPS.* outside the image"):
        geometry.world_to_network((99.4, 210, 309))
    with pytest.raises(UserError, match="not empty"):
        geometry.file_to_network((3, 5, 3))
    with pytest.raises(UserError, match="outside the preprocessed image"):
        geometry.network_to_file((6, 0, 0))


def test_voxels_reach_half_an_edge_around_their_centre():
    geometry = by_hand(
        bbox_used_for_cropping=[[0, 20], [0, 8], [0, 10]], shape_after_cropping_and_before_resampling=(20, 8, 10)
    )
    assert geometry.world_to_network((99.5, 199, 298.5)) == (0, 0, 0)
    assert geometry.world_to_network((119.5, 219, 322.5)) == (5, 15, 7)


def test_nnunet_crop(tmp_path):
    """nnU-Net's own preprocessor crops the empty margin away."""
    volume = np.zeros((9, 8, 7))
    volume[3:7, 2:5, 1:6] = np.arange(60).reshape(4, 3, 5) + 1
    affine = affine_of((1, 2, 0), (1, -1, 1), (1.0, 1.0, 1.0))
    files = [save(tmp_path / f"case_{c:04d}.nii.gz", volume, affine) for c in range(3)]
    manager = plans_manager("NibabelIOWithReorient", (2, 1, 0), (1.0, 1.0, 1.0), "DefaultPreprocessor")
    data, properties = preprocess(manager, files)
    geometry = ImageGeometry.from_properties(properties, manager.transpose_forward, data.shape[1:])
    for x, y, z in np.argwhere(volume):
        voxel = geometry.file_to_network((z, y, x))
        assert data[(0, *voxel)] == volume[x, y, z]
        assert geometry.network_to_file(voxel) == (z, y, x)
    with pytest.raises(UserError, match="not empty"):
        geometry.file_to_network((0, 0, 0))


def test_other_readers_are_refused():
    with pytest.raises(UserError, match="SimpleITKIO, NibabelIO or NibabelIOWithReorient"):
        by_hand(sitk_stuff=None)
    reoriented = {
        "spacing": (1, 1, 1),
        "origin": (0, 0, 0),
        "direction": np.eye(3).ravel(),
        "original_orientation": "LPS",
    }
    with pytest.raises(UserError, match="image_reader_writer"):
        by_hand(sitk_stuff=reoriented)
