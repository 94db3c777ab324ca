import numpy as np
import pytest

from msam_nn.errors import UserError
from msam_nn.inspection.check import blind_dice_of, check_dataset, example_cases
from msam_nn.inspection.raw_dataset import open_raw_dataset


def test_examples_are_smallest_median_and_largest(measured):
    cases = [measured(n, (v,)) for n, v in zip("abcde", (5, 1, 3, 9, 4), strict=True)]
    cases += [measured("empty", ()), measured("cut", (99,), differences=("shape",))]
    assert {size: case.name for size, case in example_cases(cases).items()} == {
        "Smallest": "b",
        "Median": "e",
        "Largest": "d",
    }
    assert [c.name for c in example_cases(cases[:2]).values()] == ["b", "a"]
    assert [c.name for c in example_cases(cases[:1]).values()] == ["a"]
    assert example_cases(cases[-2:]) == {}


def test_blind_dice_needs_two_cases_with_foreground(measured):
    assert blind_dice_of([measured("a"), measured("b", ())]) is None
    assert np.nanmean(blind_dice_of([measured("a"), measured("b")])) > 0.8


def test_page_of_a_data_set_with_faults(raw_folder, tmp_path):
    """Regions, an ignore label, two channels, a copy, an empty case and one that cannot be read."""
    labels = {"background": 0, "whole <1>": [1, 2], "core": [2], "ignore": 3}
    raw = raw_folder(labels, channels=("CT", "PET"), regions_class_order=[1, 2])
    rng = np.random.default_rng(0)
    first = rng.normal(size=(12, 20, 20))
    truth = np.zeros(first.shape, np.uint8)
    truth[4:8, 5:15, 5:15], truth[5:7, 8:10, 8:10] = 1, 2
    raw.add("a", [first, first + 1], truth)
    raw.add("b", [first, rng.normal(size=first.shape)], truth)
    raw.add("empty", [rng.normal(size=first.shape)] * 2, 0 * truth)
    raw.add("lost", [first, first], None)
    folds = [{"train": ["a", "empty"], "val": ["b"]}]
    dataset = open_raw_dataset(raw.name, raw.dataset_json)
    warnings = check_dataset(dataset, None, folds, tmp_path / "new" / "page.html", 1)
    page = (tmp_path / "new" / "page.html").read_text(encoding="utf-8")
    for part in (
        "lost cannot be read",
        "Label value 3 (ignore) occurs in no case",
        "1 of 3 cases has no foreground (empty)",
        "a, b have identical CT",
        "Fold 0 trains on images that it validates on (a = b)",
        "ellipsoid placed by the array",
    ):
        assert any(part in warning for warning in warnings), part
        assert part in page
    assert page.count("<figure>") == 2
    assert "whole &lt;1&gt;" in page and "whole <1>" not in page
    assert "not planned yet" in page
    assert "http" not in page.replace("data:image/png", "")


def test_nothing_readable(raw_folder, tmp_path):
    raw = raw_folder()
    raw.add("a", [np.zeros((4, 4, 4))], None)
    with pytest.raises(UserError, match="None of the cases of Dataset700_Small can be read; a:"):
        check_dataset(open_raw_dataset(raw.name, raw.dataset_json), None, None, tmp_path / "page.html", 1)
    assert not (tmp_path / "page.html").exists()
