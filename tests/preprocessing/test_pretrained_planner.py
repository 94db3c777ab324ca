"""What the planner writes, and that the network then receives what SAM-Med3D's published preprocessing gives."""

import json
from itertools import permutations, product

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from msam_nn import nnunet_hook
from msam_nn.errors import UserError
from msam_nn.networks import MSAMConfig
from msam_nn.preprocessing.pretrained_planner import MSAMPretrainedPlanner
from msam_nn.preprocessing.pretrained_preprocessor import keep_extent

nnunet_hook.activate()
DATASET = "Dataset902_Generated"


@pytest.fixture
def raw(tmp_path, monkeypatch):
    """Folders of nnU-Net with a fingerprint of a data set that has no images yet."""
    for name in ("raw", "preprocessed"):
        (tmp_path / name / DATASET).mkdir(parents=True)
        monkeypatch.setenv(f"nnUNet_{name}", str(tmp_path / name))
    monkeypatch.setattr(MSAMPretrainedPlanner, "foreground_fraction", 0.001)  # there are no labels to read
    statistics = dict(mean=1.0, std=1.0, median=1.0, min=0.0, max=2.0, percentile_00_5=0.0, percentile_99_5=2.0)
    fingerprint = {
        "spacings": [[3.0, 0.8, 0.8]] * 5,
        "shapes_after_crop": [[120, 512, 512]] * 5,
        "foreground_intensity_properties_per_channel": {str(i): statistics for i in range(3)},
        "median_relative_size_after_cropping": 0.5,
    }
    (tmp_path / "preprocessed" / DATASET / "dataset_fingerprint.json").write_text(json.dumps(fingerprint))
    return tmp_path / "raw" / DATASET


def plan(raw, channels=("CT",), labels=None, file_ending=".nii.gz", planner=MSAMPretrainedPlanner, **options):
    dataset_json = {
        "channel_names": {str(i): name for i, name in enumerate(channels)},
        "labels": labels or {"background": 0, "tumour": 1},
        "numTraining": 5,
        "file_ending": file_ending,
    }
    if labels:
        dataset_json["regions_class_order"] = [1, 2]
    (raw / "dataset.json").write_text(json.dumps(dataset_json))
    for folder in ("imagesTr", "labelsTr"):
        (raw / folder).mkdir(exist_ok=True)
    for case in range(5):
        for channel in range(len(channels)):
            (raw / "imagesTr" / f"case{case}_{channel:04d}{file_ending}").touch()
        (raw / "labelsTr" / f"case{case}{file_ending}").touch()
    planner(DATASET, **options).plan_experiment()
    folder = raw.parents[1] / "preprocessed" / DATASET
    return json.loads((folder / "MSAMPretrainedPlans.json").read_text(encoding="utf-8")), dataset_json


def test_plans_hold_the_released_geometry(raw):
    plans, _ = plan(raw, preprocessor_name="DefaultPreprocessor")  # nnU-Net's commands pass this name
    assert list(plans["configurations"]) == ["3d_fullres"]
    assert plans["image_reader_writer"] == "NibabelIOWithReorient"
    assert plans["transpose_forward"] == plans["transpose_backward"] == [2, 1, 0]
    configuration = plans["configurations"]["3d_fullres"]
    assert configuration["preprocessor_name"] == "SAMMed3DPreprocessor"
    assert configuration["spacing"] == [1.5, 1.5, 1.5]
    assert configuration["patch_size"] == [128, 128, 128]
    assert configuration["batch_size"] == 2
    assert len(configuration["planning_notes"]) == 6 and "placed on foreground" in configuration["planning_notes"][-1]
    kwargs = configuration["architecture"]["arch_kwargs"]
    assert MSAMConfig.from_arch_kwargs(1, 2, kwargs) == MSAMConfig.sam_med3d()


def test_normalisation_follows_the_channel_names(raw):
    plans, _ = plan(raw, channels=("CT", "PET", "noNorm"))
    configuration = plans["configurations"]["3d_fullres"]
    expected = ["SAMMed3DCTNormalization", "SAMMed3DNormalization", "NoNormalization"]
    assert configuration["normalization_schemes"] == expected
    assert configuration["use_mask_for_norm"] == [False] * 3


def test_regions_have_no_background_logit(raw):
    plans, _ = plan(raw, labels={"background": 0, "whole": [1, 2], "core": 2})
    assert plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]["background"] is False


def test_only_nifti(raw):
    with pytest.raises(UserError, match=r"NIfTI only .* holds \.nrrd"):
        plan(raw, file_ending=".nrrd")


def test_no_other_spacing(raw):
    with pytest.raises(UserError, match="leave out -overwrite_target_spacing"):
        plan(raw, overwrite_target_spacing=(1.0, 1.0, 1.0))
    plan(raw, overwrite_target_spacing=(1.5, 1.5, 1.5))


# --- against SAM-Med3D's published preprocessing, written here from torchio's documented behaviour


def published_preprocessing(path, *, ct):
    """torchio: Resample(1.5), ToCanonical, Clamp for CT, ZNormalization over x > 0; ``(x, y, z)``."""
    image = sitk.Cast(sitk.ReadImage(str(path)), sitk.sitkFloat32)
    old_spacing, new_spacing = np.array(image.GetSpacing()), np.full(3, 1.5)
    resampler = sitk.ResampleImageFilter()
    resampler.SetInterpolator(sitk.sitkLinear)
    resampler.SetSize(np.ceil(np.array(image.GetSize()) * old_spacing / new_spacing - 1e-9).astype(int).tolist())
    resampler.SetOutputSpacing(new_spacing.tolist())
    resampler.SetOutputDirection(image.GetDirection())
    origin = image.TransformContinuousIndexToPhysicalPoint((0.5 * (new_spacing / old_spacing - 1)).tolist())
    resampler.SetOutputOrigin(origin)
    resampled = path.with_name("resampled.nii.gz")
    sitk.WriteImage(resampler.Execute(image), str(resampled))
    canonical = nibabel.as_closest_canonical(nibabel.load(resampled)).get_fdata().astype(np.float32)
    if ct:
        canonical = canonical.clip(-1000, 1000)
    positive = canonical[canonical > 0]
    return (canonical - positive.mean()) / positive.std(ddof=1)


def generated_volume(rng, shape, *, ct):
    """Smooth structures; CT in HU with air around, otherwise zeros around, as in skull-stripped MR."""
    grid = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij"))
    waves = sum(np.sin((rng.normal(size=3) * 5) @ grid.reshape(3, -1) + i).reshape(shape) for i in range(4))
    inside = (grid**2).sum(0) < 0.5
    return np.where(inside, 40 + 300 * waves, -1024) if ct else np.where(inside, 200 + 40 * waves, 0)


def affine_of(axes, flips, spacing, origin=(-31.0, 12.5, 8.0)):
    """Array axis ``i`` runs along world axis ``axes[i]`` of RAS, backwards where ``flips[i]``."""
    affine = np.eye(4)
    affine[:3, :3] = 0
    for i in range(3):
        affine[axes[i], i] = spacing[i] * (-1 if flips[i] else 1)
    affine[:3, 3] = origin
    return affine


def preprocess(plans, dataset_json, path):
    manager = PlansManager(plans)
    configuration = manager.get_configuration("3d_fullres")
    preprocessor = configuration.preprocessor_class(verbose=False)
    return preprocessor.run_case([str(path)], None, manager, configuration, dataset_json)


ORIENTATIONS = list(product(permutations(range(3)), product((False, True), repeat=3)))


@pytest.mark.parametrize("number", range(48))
def test_network_receives_the_published_preprocessing(raw, tmp_path, number):
    """In every orientation. Extents are whole multiples of 1.5 mm; 3 mm slices, finer in plane."""
    (axes, flips), channel = ORIENTATIONS[number], ("CT", "MR")[number % 2]
    volume = generated_volume(np.random.default_rng(3), (45, 36, 20), ct=channel == "CT")
    path = tmp_path / "image.nii.gz"
    image = nibabel.Nifti1Image(volume.astype(np.float32), affine_of(axes, flips, (1.0, 0.75, 3.0)))
    nibabel.save(image, path)
    plans, dataset_json = plan(raw, channels=(channel,))
    data, _, properties = preprocess(plans, dataset_json, path)
    expected = published_preprocessing(path, ct=channel == "CT")
    assert sorted(data.shape[1:]) == [18, 30, 40]
    np.testing.assert_allclose(data[0], expected, atol=2e-5)
    assert list(properties["shape_before_cropping"]) == list(properties["shape_after_cropping_and_before_resampling"])


def test_extents_that_are_no_multiples_differ_by_less_than_half_a_voxel(raw, tmp_path):
    """A ramp of 1 per mm shows where each voxel lies."""
    shape, spacing = (31, 40, 22), (1.1, 0.9, 2.3)
    ramp = 100 + sum(s * (i + 0.5) for s, i in zip(spacing, np.indices(shape), strict=True))
    path = tmp_path / "image.nii.gz"
    nibabel.save(nibabel.Nifti1Image(ramp.astype(np.float32), affine_of((0, 1, 2), (0, 0, 0), spacing)), path)
    plans, dataset_json = plan(raw, channels=("noNorm",))
    data, _, _ = preprocess(plans, dataset_json, path)
    inner = tuple(slice(1, n - 1) for n in data.shape[1:])  # border voxels see the edge of the image
    ideal = 100 + sum(1.5 * (i + 0.5) for i in np.indices(data.shape[1:]))
    assert np.abs(data[0] - ideal)[inner].max() < 3 * 0.75


def test_seg_follows_the_image(raw, tmp_path):
    volume = generated_volume(np.random.default_rng(3), (45, 36, 20), ct=False)
    affine = affine_of((2, 0, 1), (1, 0, 1), (1.0, 0.75, 3.0))
    nibabel.save(nibabel.Nifti1Image(volume.astype(np.float32), affine), tmp_path / "image.nii.gz")
    nibabel.save(nibabel.Nifti1Image((volume > 0).astype(np.uint8), affine), tmp_path / "label.nii.gz")
    plans, dataset_json = plan(raw, channels=("noNorm",))
    manager = PlansManager(plans)
    configuration = manager.get_configuration("3d_fullres")
    preprocessor = configuration.preprocessor_class(verbose=False)
    files = ([str(tmp_path / "image.nii.gz")], str(tmp_path / "label.nii.gz"))
    data, seg, properties = preprocessor.run_case(*files, manager, configuration, dataset_json)
    assert data.shape[1:] == seg.shape[1:]
    assert ((data[0] > 100) == (seg[0] > 0)).mean() > 0.99
    assert len(properties["class_locations"][1]) > 100


def test_keep_extent():
    data = np.zeros((2, 3, 4, 5), dtype=np.int16)
    kept = keep_extent(data)
    assert not data.any()
    assert kept.dtype == np.float32
    assert np.argwhere(kept).tolist() == [[0, 0, 0, 0], [0, 2, 3, 4]]
    assert -1e-30 < kept.min() < 0 == kept.max()
    data[0, 0, 0, 0] = 7
    assert keep_extent(data)[0, 0, 0, 0] == 7
