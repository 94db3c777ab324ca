"""Cases are put together from published names at any depth; what is incomplete or twice there is named."""

from dataclasses import replace

import pytest

from dataset_conversion.Dataset029_LiTS import ALL as LITS
from dataset_conversion.discovery import find_cases

DATASET = replace(LITS, images=(r"/img/(\w+)_a\.x$", r"/img/(\w+)_b\.x$"), mask=r"/seg/(\w+)\.x$", channels=("A", "B"))
DATASET = replace(DATASET, test_images=(r"/test/(\w+)_a\.x$", r"/test/(\w+)_b\.x$"), case_name="case_{}")


@pytest.fixture
def touch(tmp_path):
    def make(*places):
        for place in places:
            (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / place).touch()
        return tmp_path

    return make


def test_files_of_a_case_at_any_depth(touch):
    source = touch("deep/down/img/1_a.x", "deep/down/img/1_b.x", "seg/1.x", "test/9_a.x", "test/9_b.x", "img/notes.txt")
    cases, problems = find_cases(DATASET, source)
    assert [case.name for case in cases] == ["case_1", "case_9"] and problems == {}
    assert [found.path for found in cases[0].images] == [source / f"deep/down/img/1_{c}.x" for c in "ab"]
    assert cases[0].mask.place == "seg/1.x" and cases[0].images[1].place == "img/1_b.x" and cases[1].mask is None


def test_what_is_missing_is_named(touch):
    source = touch("img/1_a.x", "img/2_a.x", "img/2_b.x", "seg/3.x", "test/4_b.x")
    cases, problems = find_cases(DATASET, source)
    assert cases == [] and problems == {
        "case_1": "missing image (B) and mask",
        "case_2": "missing mask",
        "case_3": "missing image (A) and image (B)",
        "case_4 (test case)": "missing image (A)",
    }


def test_two_files_for_one_place(touch):
    source = touch("img/1_a.x", "img/1_b.x", "seg/1.x", "copy/seg/1.x", "img/2_a.x", "img/2_b.x", "seg/2.x")
    cases, problems = find_cases(DATASET, source)
    assert [case.name for case in cases] == ["case_2"]
    assert problems["case_1"] == f"duplicate case id, more than one mask: {source}/copy/seg/1.x, {source}/seg/1.x"


def test_hidden_files_do_not_count_and_links_do(touch, tmp_path):
    source = touch("img/1_a.x", "img/1_b.x", "elsewhere/1.x", "img/._1_a.x", ".cache/img/1_a.x")
    (source / "seg").symlink_to(source / "elsewhere")
    cases, problems = find_cases(DATASET, source)
    assert [case.name for case in cases] == ["case_1"] and problems == {}


def test_a_link_back_and_a_second_way_to_a_file_lose_no_case(touch, tmp_path):
    source = touch("data/img/1_a.x", "data/img/1_b.x", "data/seg/1.x")
    for link, folder in (("data/img/back", "data"), ("data/all", "."), ("by_name", "data")):
        (source / link).symlink_to(source / folder)
    (case,), problems = find_cases(DATASET, source)
    assert case.name == "case_1" and case.mask.path.samefile(source / "data/seg/1.x") and problems == {}


def test_masks_from_another_folder(touch):
    source = touch("images/img/1_a.x", "images/img/1_b.x", "masks/seg/1.x")
    assert find_cases(DATASET, source / "images")[1] == {"case_1": "missing mask"}
    (case,), problems = find_cases(DATASET, source / "images", source / "masks")
    assert case.mask.path == source / "masks/seg/1.x" and problems == {}
