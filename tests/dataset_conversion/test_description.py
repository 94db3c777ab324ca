"""Tasks that are derived from others, and the splits of papers."""

import pytest

from dataset_conversion.Dataset029_LiTS import ALL
from dataset_conversion.description import one_fold, same_values, tumour_only


def test_tumour_only_changes_name_labels_and_values_alone():
    tumour = tumour_only(ALL, "Dataset529_LiTSTumour", tumour=2)
    assert same_values(ALL.labels) == ALL.values == {0: 0, 1: 1, 2: 2}
    assert tumour.values == {0: 0, 1: 0, 2: 1} and tumour.labels == {"background": 0, "tumour": 1}
    assert tumour.name == "Dataset529_LiTSTumour" and (tumour.images, tumour.licence) == (ALL.images, ALL.licence)


@pytest.mark.parametrize(
    ("there", "fold", "said"),
    [
        ("abcd", {"train": ["a_1", "d_1"], "val": ["b_1"]}, ""),
        ("ac", {"train": ["a_1"], "val": []}, "2 of 4 are not in the data set (b, d). To compare with the paper, "),
        ("d", {"train": ["d_1"], "val": []}, "3 of 4 are not in the data set (a, b, c). To compare with the paper, "),
    ],
)
def test_a_papers_split_of_an_incomplete_download_says_what_is_missing(tmp_path, capsys, there, fold, said):
    for name in there:
        (tmp_path / f"{name}_1.nii.gz").touch()
    assert one_fold(tmp_path, "abcd", scored="b", left_out="c") == [fold]
    printed = capsys.readouterr().out
    assert said in printed and bool(said) == bool(printed)


def test_of_many_missing_cases_five_are_named(tmp_path, capsys):
    one_fold(tmp_path, "abcdef", scored="b")
    assert "6 of 6 are not in the data set (a, b, c, d, e, ...)." in capsys.readouterr().out
