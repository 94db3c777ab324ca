from dataclasses import replace

import numpy as np
import pytest
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

from msam_nn.inspection import findings as warn
from msam_nn.inspection.case_statistics import UnreadableCase
from msam_nn.inspection.plan_facts import PlanFacts
from msam_nn.inspection.raw_dataset import RawDataset

DATASET = RawDataset("Dataset700_Small", ("CT",), {"tumour": (1,)}, None, {}, 0, SimpleITKIO)
PLAN = PlanFacts("MSAMPlans", "3d_fullres", (2, 1, 1), (8, 8, 8), {}, ())


def test_sound_cases_raise_no_warning(measured):
    cases = [measured("a"), measured("b")]
    for found in (
        warn.file_warnings(DATASET, cases, []),
        warn.label_warnings(DATASET, cases),
        warn.intensity_warnings(DATASET, cases),
        warn.spacing_warnings(cases),
        warn.token_warnings(cases, PLAN),
        warn.leakage_warnings(DATASET, cases, [{"train": ["a"], "val": ["b"]}]),
        warn.shape_warnings(0.49),
        warn.shape_warnings(np.nan),
    ):
        assert found == []


def test_files(measured):
    cases = [
        measured("a", channels=2),
        measured("b", differences=("shape", "spacing")),
        measured("c", differences=("origin",)),
        measured("d", nan_voxels=3, label_nan_voxels=1),
    ]
    found = warn.file_warnings(DATASET, cases, [UnreadableCase("e", "no such file")])
    starts = ("e cannot be read (no such file)", "1 channels are declared, but not found in a (2)")
    assert all(text.startswith(start) for text, start in zip(found, starts, strict=False))
    assert "differ in shape and spacing in b: resample" in found[2]
    assert "differ in origin in c: nnU-Net ignores it" in found[3]
    assert "Images hold NaN or infinite voxels in d" in found[4] and "Labels hold NaN voxels in d" in found[5]


@pytest.mark.parametrize(
    ("declared", "said"), [(6, "says numTraining: 6"), ("0", 'says numTraining: "0"'), (None, "lacks")]
)
def test_another_number_of_cases_than_declared(declared, said):
    (text,) = warn.file_warnings(replace(DATASET, declared_cases=declared), [], [])
    assert text.startswith(f"dataset.json {said}") and "write 0 there" in text


def test_labels(measured):
    regions = RawDataset("D", ("CT",), {"whole": (1, 2), "core": (2,)}, 3, {}, 0, SimpleITKIO)
    cases = [measured("a", label_values=(0, 1, 7)), measured("b", (), label_values=(0,))]
    undeclared, core, ignore, empty = warn.label_warnings(regions, cases)
    assert undeclared.startswith("Label value 7 occurs in a and is not declared")
    assert core.startswith('Label value 2 ("whole", "core") occurs in no case')
    assert ignore.startswith("Label value 3 (ignore) occurs in no case")
    assert empty.startswith("1 of 2 cases has no foreground (b)")


def test_nearly_constant_channel(measured):
    flat, noisy = np.zeros((1, 1000)), np.zeros((1, 1000))
    flat[0, 0], noisy[0, :11] = 5, 5
    (text,) = warn.intensity_warnings(DATASET, [measured("a", intensities=flat), measured("b", intensities=noisy)])
    assert text.startswith('Channel "CT" holds nearly one value in a:')
    assert warn.intensity_warnings(DATASET, [measured("a", intensities=np.full((1, 5), np.nan))])


@pytest.mark.parametrize(("z", "fires"), [(5.9, False), (6.0, True), (0.5, True)])
def test_spacing_three_times_the_median(measured, z, fires):
    cases = [measured(n) for n in "abc"] + [measured("far", spacing=(z, 1, 1))]
    found = warn.spacing_warnings(cases)
    assert bool(found) is fires
    assert not fires or "far" in found[0]


def test_lesions_smaller_than_a_token(measured):
    """A token of 8 mm edges has 512 mm³."""
    (text,) = warn.token_warnings([measured("a", (511, 512, 2000)), measured("b", (100,))], PLAN)
    assert text.startswith('Of 4 lesions of "tumour", 2 (50 %) are smaller than a token of 8 × 8 × 8 mm (0.512 ml)')
    (text,) = warn.token_warnings([measured("a", (511, 512))], PLAN)
    assert "1 (50 %) is smaller" in text


def test_only_specks_are_too_small_for_masks_as_fine_as_the_image(measured):
    """Eight voxels of 2 mm³ have 16 mm³."""
    fine = replace(PLAN, fine_masks=True)
    assert warn.token_warnings([measured("a", (16, 100, 511))], fine) == []
    assert warn.token_warnings([measured("a", (15, 100, 511))], fine) == [
        'Of 3 lesions of "tumour", 1 (33.3 %) is smaller than 8 voxels of 2 × 1 × 1 mm (16 mm³): '
        "remove what is a speck of annotation."
    ]


def test_shape_that_gives_the_place_away():
    assert "mean Dice of 0.73" in warn.shape_warnings(0.73)[0]


def test_duplicates_across_folds(measured):
    cases = [measured("a", hashes=("x",)), measured("b", hashes=("x",)), measured("c")]
    folds = [{"train": ["a", "c"], "val": ["b"]}, {"train": ["c"], "val": ["a", "b"]}]
    copies, leak = warn.leakage_warnings(DATASET, cases, folds)
    assert copies == "a, b have identical images: keep one."
    assert leak.startswith("Fold 0 trains on images that it validates on (a = b):")
    (unsplit,) = warn.leakage_warnings(DATASET, cases, None)
    assert "put them into one fold" in unsplit
