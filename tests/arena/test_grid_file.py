"""Grids that are right, and the sentences for those that are not."""

import os

import nnunetv2
import pytest
import yaml
from nnunetv2.utilities.find_class_by_name import recursive_find_python_class

from msam_nn.arena.grid import Method, Plans
from msam_nn.arena.grid_file import PLANNERS, plans_name_of, read_grid, transfers_between
from msam_nn.arena.template import TEMPLATE
from msam_nn.errors import UserError

from .conftest import M_SAM


def problems(file):
    with pytest.raises(UserError) as error:
        read_grid(file)
    lines = str(error.value).split("\n  ")
    return lines[1:] if len(lines) > 1 else lines


def test_what_the_grid_says(arena):
    file = arena(
        methods={
            "nnU-Net": {"trainer": "nnUNetTrainer"},
            "nnU-Net, clicked": {"trainer": "nnUNetTrainer", "budget": "3epochs", "clicks": True},
            "M-SAM": {"trainer": "MSAMTrainer", "plans": "MSAMPlans"},
            "clicks only": {"trainer": "SAMMed3DTrainer", "plans": "Mine", "clicks": "--start empty", "note": "n"},
            "ablation": {"trainer": "MSAMTrainer", "plans": "MSAMPlans", "budget": "3epochs", "variant_of": "M-SAM"},
        },
        plans={"Mine": {"planner": "MSAMPlanner", "options": "-gpu_memory_target 0.5"}},
        budget="10cpuminutes", clicks="-n 2", folds=[1, 0], seeds=[3, 4], environment={"nnUNet_compile": False, "X": 2},
    )  # fmt: skip
    grid = read_grid(file)
    assert grid.methods == (
        Method("nnU-Net", "nnUNetTrainer_10cpuminutes", "nnUNetPlans", None),
        Method("nnU-Net, clicked", "nnUNetTrainer_3epochs", "nnUNetPlans", ()),
        Method("M-SAM", "MSAMTrainer_10cpuminutes", "MSAMPlans", ("-n", "2")),
        Method("clicks only", "SAMMed3DTrainer_10cpuminutes", "Mine", ("--start", "empty"), note="n"),
        Method("ablation", "MSAMTrainer_3epochs", "MSAMPlans", ("-n", "2"), "M-SAM"),
    )
    assert grid.plans == {
        "nnUNetPlans": Plans("ExperimentPlanner"),
        "MSAMPlans": Plans("MSAMPlanner"),
        "Mine": Plans("MSAMPlanner", ("-gpu_memory_target", "0.5"), overwrites_name=True),
    }
    assert (grid.datasets, grid.folds, grid.seeds) == (("Dataset900_TumourPhantom",), (1, 0), (3, 4))
    assert grid.environment == {"nnUNet_compile": "0", "X": "2"}
    assert grid.folder == file.with_name("grid_arena") and grid.transfers == ()
    assert grid.model(grid.methods[2]) == "MSAMTrainer_10cpuminutes__MSAMPlans__3d_fullres"


def test_one_value_is_a_list_of_one(arena):
    grid = read_grid(arena(datasets="Dataset900_TumourPhantom", folds=2, seeds=7, methods=M_SAM))
    assert (grid.datasets, grid.folds, grid.seeds) == (("Dataset900_TumourPhantom",), (2,), (7,))


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [
        ({"transfr": True}, "has no entry transfr; did you mean transfer?"),
        ({"folds": [0, 7]}, "folds go from 0 to 4, not 0, 7."),
        ({"folds": [0, 0]}, "folds names something twice: 0, 0."),
        ({"datasets": [777]}, "There is no data set 777 in nnU-Net's folders."),
        ({"datasets": [900, "Dataset900_TumourPhantom"]}, "datasets names Dataset900_TumourPhantom twice."),
        ({"datasets": []}, "datasets has to be a list of data sets (IDs or names), not []."),
        ({"budget": "10 hours"}, "10 hours is no budget, such as 100epochs, 60minutes or 60cpuminutes."),
        ({"device": "gpu"}, "device has to be cuda or cpu, not gpu."),
        ({"jobs": 0}, "jobs has to be a whole number from 1 on, not 0."),
        ({"jobs": True}, "jobs has to be a whole number from 1 on, not True."),
        ({"clicks": "-device cpu"}, "clicks takes no -device, which is the grid's."),
        ({"methods": {"a": {**M_SAM["M-SAM"], "clicks": "-device cpu"}}}, "Method a: clicks takes no -device"),
        ({"clicks": "--start 'empty"}, "Method M-SAM: --start 'empty ends within quotation marks."),
        ({"plans": {"MSAMPlans": {"options": '-a "b'}}}, 'Plans MSAMPlans: -a "b ends within quotation marks.'),
        ({"seeds": [0, -1]}, "seeds go from 0 on, not -1."),
        ({"plans": {"Unused": {"planner": "MSAMPlanner"}}}, "no method uses the plans Unused."),
        ({"methods": {"a": {"trainer": "MSAMTrainr", "plans": "MSAMPlans"}}}, "did you mean MSAMTrainer?"),
        ({"methods": {"a": {"plans": "MSAMPlans"}}}, "Method a lacks trainer, the name of a trainer."),
        ({"methods": {"a": "MSAMTrainer"}}, "Method a has to be a mapping (key: value), not 'MSAMTrainer'."),
        ({"methods": {"a": {"trainer": "nnUNetTrainer", "plans": "Mine"}}}, "Plans Mine lacks planner"),
        ({"methods": {**M_SAM, "b": M_SAM["M-SAM"]}}, "Methods M-SAM and b are the same: MSAMTrainer on MSAMPlans."),
        ({"methods": {"a": {**M_SAM["M-SAM"], "variant_of": "a"}}}, "a variant of a, which is no other method."),
        ({"plans": {"MSAMPlans": {"planner": "MSAMPlaner"}}}, "did you mean MSAMPlanner?"),
        ({"transfer": True}, "no two data sets have the same channels, classes and files to transfer between."),
    ],
)
def test_one_sentence_says_what_is_wrong(arena, entries, sentence):
    found = problems(arena(**{"methods": M_SAM, **entries}))
    assert len(found) == 1 and sentence in found[0]


def test_everything_wrong_is_told_at_once(arena):
    found = problems(arena(datasets=[777], folds=[9], methods={"a": {"trainer": "NoSuchTrainer"}}))
    assert [word in line for word, line in zip(("folds", "777", "NoSuchTrainer"), found, strict=True)] == [True] * 3


def test_files_that_are_no_grid(tmp_path):
    assert "msam arena init writes one" in problems(tmp_path / "none.yaml")[0]
    broken = tmp_path / "broken.yaml"
    broken.write_text("methods: [")
    assert "is no YAML" in problems(broken)[0]
    broken.write_text("just a text")
    assert "has to be a mapping" in problems(broken)[0]


def test_the_template_is_a_grid(arena):
    entries = yaml.safe_load(TEMPLATE)
    grid = read_grid(arena(**{**entries, "datasets": [900], "device": "cpu"}))
    assert [method.clicks for method in grid.methods] == [None, ("-n", "5"), ("-n", "5"), ("--start", "empty")]


def test_every_planner_that_is_known_writes_the_plans_it_is_known_for():
    for plans, planner in PLANNERS.items():
        folder = os.path.join(nnunetv2.__path__[0], "experiment_planning")
        found = recursive_find_python_class(folder, planner, "nnunetv2.experiment_planning")
        assert plans_name_of(found) == plans


def test_transfers_are_between_data_sets_that_fit(tmp_path, monkeypatch):
    import json

    monkeypatch.setenv("nnUNet_raw", str(tmp_path))
    labels = {"background": 0, "tumour": 1}
    described = {"A": ("CT", labels), "B": ("CT", labels), "C": ("MR", labels), "D": ("CT", {**labels, "organ": 2})}
    for name, (channel, names) in described.items():
        (tmp_path / name).mkdir()
        description = {"channel_names": {"0": channel}, "labels": names, "file_ending": ".nii.gz"}
        (tmp_path / name / "dataset.json").write_text(json.dumps(description))
    pairs = transfers_between([*described, "not there"])
    assert pairs == (("A", "B"), ("B", "A"), ("D", "A"), ("D", "B"))
