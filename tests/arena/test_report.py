"""Tables worked out by hand, and a report on made-up predictions of two methods and two seeds."""

import json
import shutil
from pathlib import Path
from runpy import run_path

import numpy as np
import pandas as pd
import pytest

from msam_nn.arena import tables
from msam_nn.arena.grid import Grid, Method, Plans
from msam_nn.arena.report import write_report
from msam_nn.arena.results import Results, collect
from msam_nn.errors import UserError
from msam_nn.evaluation.scoring import ELLIPSOID
from msam_nn.metrics.summary import METRICS

PHANTOM = run_path(str(Path(__file__).parents[1] / "evaluation" / "results_phantom.py"))
DATASET = PHANTOM["DATASET"]
METHODS = (
    Method("first", "FirstTrainer"),
    Method("second", "SecondTrainer", clicks=(), variant_of="first", note="shifts y"),
)


def made_up(values, dataset="D"):
    """Scores of one class: (method, seed, fold, case) -> Dice; the other metrics are the same."""
    rows = [
        {
            "dataset": dataset,
            "method": m,
            "seed": s,
            "fold": f,
            "case": c,
            "label": "tumour",
            **dict.fromkeys(METRICS, v),
        }
        for (m, s, f, c), v in values.items()
    ]
    return pd.DataFrame(rows)


def results_of(scores, methods=METHODS, **more):
    grid = Grid(Path("grid.yaml"), Path("grid_arena"), ("D",), methods, {"nnUNetPlans": Plans()})
    empty = {"costs": pd.DataFrame(), "clicks": pd.DataFrame(), "transfers": pd.DataFrame(), "missing": []}
    return Results(grid, scores=scores, **{**empty, **more})


SCORES = made_up({
    ("second", 0, 0, "a"): 0.2, ("second", 0, 0, "b"): 0.4, ("second", 1, 0, "a"): 0.4, ("second", 1, 0, "b"): 0.8,
    ("first", 0, 0, "a"): 0.9, ("first", 0, 0, "b"): 0.7, ("first", 1, 0, "a"): 0.9, ("first", 1, 0, "b"): 0.7,
    (ELLIPSOID, 0, 0, "a"): 0.1, (ELLIPSOID, 0, 0, "b"): 0.1, (ELLIPSOID, 1, 0, "a"): 0.1, (ELLIPSOID, 1, 0, "b"): 0.1,
})  # fmt: skip


def test_table_1_by_hand():
    """Second: runs 0.3 and 0.6, so 0.45 with a standard deviation of 0.3 / sqrt 2."""
    table = tables.table_1(results_of(SCORES), "D").set_index("method")
    assert list(table.index) == ["first", "second", ELLIPSOID]
    assert table["Dice"].str.split(" ").str[0].to_list() == ["0.800", "0.450", "0.100"]
    assert table["SD of Dice over runs"].to_list() == ["0.000", "0.212", "0.000"] and set(table["runs"]) == {2}


def test_ranks_and_tests_leave_the_ellipsoid_out():
    results = results_of(SCORES)
    ranks = tables.ranks(results)
    assert ranks.ranks.to_dict() == {"first": 1.0, "second": 2.0} and ranks.n_cases == 2 and ranks.left_out == []
    tests = tables.tests(results)
    assert list(tests["metric"]) == ["dice", "nsd"] and tests["difference"].to_list() == pytest.approx([-0.35, -0.35])
    matrix = tables.tests_matrix(tests, "dice")
    assert matrix.loc["first", "second"] == "+0.350" and matrix.loc["second", "first"] == "-0.350"
    ablations = tables.table_3(results, tests)
    assert ablations[["variant", "of"]].to_numpy().tolist() == [["second", "first"]]
    assert ablations["change of Dice"][0].startswith("-0.350 [-0.600, -0.100]")
    assert tables.table_3(results, tests.assign(p=5e-10))["p"].to_list() == ["5e-10"]


def test_false_alarms_count_before_seeds_and_classes_are_averaged():
    """Of two classes one is not there. First is rightly empty there, with a Dice of 0.45 in the other; second has 0.95
    and a false alarm in one of two seeds: 0.725 against (0.95 + 0.5) / 2."""
    scores = made_up({("first", 0, 0, "a"): 0.45, ("second", 0, 0, "a"): 0.95, ("second", 1, 0, "a"): 0.95})
    absent = made_up({("first", 0, 0, "a"): np.nan, ("second", 0, 0, "a"): 0.0, ("second", 1, 0, "a"): np.nan})
    results = results_of(pd.concat([scores, absent.assign(label="absent")]))
    tests = tables.tests(results)
    assert tests["difference"].to_list() == pytest.approx([0, 0])
    assert tables.ranks(results).ranks.to_dict() == {"first": 1.5, "second": 1.5}


def test_a_method_that_a_data_set_lacks_has_no_rank():
    other = made_up({("first", 0, 0, "x"): 0.5, ("third", 0, 0, "x"): 0.6}, "E")
    both = pd.concat([SCORES, other, made_up({("third", 0, 0, c): 0.1 for c in "ab"})])
    ranks = tables.ranks(results_of(both, (*METHODS, Method("third", "T"))))
    assert ranks.ranks.to_dict() == {"first": 4 / 3, "third": 5 / 3} and ranks.left_out == ["second"]


def test_table_2_by_hand():
    keys = {"source": "A", "target": "B", "run": -1, "fold": 0, "label": "tumour"}
    values = {("before", "a"): 0.8, ("before", "b"): 0.4, ("after", "a"): 0.3, ("after", "b"): 0.3}
    keys["method"] = "first"
    rows = [{**keys, "when": w, "case": c} | dict.fromkeys(METRICS, v) for (w, c), v in values.items()]
    table = tables.table_2(results_of(SCORES, transfers=pd.DataFrame(rows)))
    dice = table[table["metric"] == "dice"].iloc[0]
    assert (dice["before"], dice["after"], dice["rate"]) == pytest.approx((0.6, 0.3, -0.5))
    matrix = tables.transfer_matrix(table)
    assert matrix.loc["first, trained on A", "B"] == "0.300 (-50.0%)"
    assert matrix.loc["first, trained on B", "B"] == "0.600"


@pytest.fixture
def grid(tmp_path, monkeypatch):
    """Two seeds of both methods, validated on both folds; the second has clicks of seed 0."""
    PHANTOM["make_results"](tmp_path, monkeypatch)
    results = tmp_path / "results"
    for seed in (0, 1):
        shutil.copytree(results / DATASET, results / f"seed_{seed}" / DATASET)
    for folder in results.glob("seed_*/*/*/fold_*/validation"):
        (folder / "summary.json").write_text("{}")
    grid = Grid(
        tmp_path / "grid.yaml", tmp_path / "grid_arena", (DATASET,), METHODS, {"nnUNetPlans": Plans()},
        folds=(0, 1), seeds=(0, 1), device="cpu", measure_prediction=False,
    )  # fmt: skip
    for fold in (results / "seed_0" / DATASET / "SecondTrainer__nnUNetPlans__3d_fullres").glob("fold_*"):
        (fold / "checkpoint_final.pth").touch()
    clicks = grid.folder / "clicks" / DATASET / "SecondTrainer__nnUNetPlans__3d_fullres.seed_0"
    clicks.mkdir(parents=True)
    rows = [("a", "core", "centre", 0, n, dice, 10) for n, dice in ((0, 0.2), (1, 0.5), (3, 0.9))]
    columns = ["case", "label", "strategy", "seed", "clicks", "dice", "true_voxels"]
    pd.DataFrame(rows, columns=columns).to_csv(clicks / "clicks.csv", index=False)
    job = grid.folder / "jobs" / f"train.{DATASET}.FirstTrainer__nnUNetPlans__3d_fullres.fold_0.seed_0"
    job.mkdir(parents=True)
    (job / "attempts.jsonl").write_text(json.dumps({"status": 0, "cpu_seconds": 240, "peak_gib": 1.5}) + "\n")
    return grid


def test_a_report_on_two_seeds(grid, tmp_path):
    results = collect(grid)
    assert set(results.scores["seed"]) == {0, 1} and set(results.scores["method"]) == {"first", "second", ELLIPSOID}
    first = results.costs.set_index("method").loc["first"]
    assert first["job CPU minutes per fold"] == pytest.approx(240 / 60 / 2) and first["peak GiB of training"] == 1.5
    assert len([name for name in results.missing if name.startswith("train.")]) == 6  # no checkpoint_final.pth
    output = tmp_path / "report"
    output.mkdir()
    table = write_report(output, results)
    assert {f.name for f in output.iterdir()} == {
        "arena.html", "scores.csv", "table1.csv", "costs.csv", "tests.csv", "ranks.csv", "table3.csv", "clicks.csv",
    }  # fmt: skip
    assert list(table["method"]) == ["first", "second", ELLIPSOID]
    page = (output / "arena.html").read_text(encoding="utf-8")
    for text in ("Table 1: Dataset700_Regions", "shifts y", "Table 3", "critical difference", "Left out", "Dice over"):
        assert (text in page) == (text != "Left out")
    assert "Friedman" not in page and 'src="http' not in page  # a test of three methods or more
    scored = pd.read_csv(output / "scores.csv")
    one = scored[(scored["method"] == "first") & (scored["label"] == "whole") & (scored["seed"] == 0)]
    mean = pd.read_csv(output / "tests.csv")
    assert np.isfinite(one["dice"]).any() and set(mean["label"]) == {"mean of classes"}


def test_clicks_of_other_options_are_left_out(grid):
    name = f"clicks.{DATASET}.SecondTrainer__nnUNetPlans__3d_fullres.seed_0"
    assert len(collect(grid).clicks) == 3
    grid.job_folder(name).mkdir(parents=True)
    entry = {"status": 0, "cpu_seconds": 1, "peak_gib": 1, "command": ["msam", "clicks", "-n", "1"]}
    (grid.job_folder(name) / "attempts.jsonl").write_text(json.dumps(entry) + "\n")
    results = collect(grid)
    assert results.clicks.empty and name in results.missing


def test_a_seed_counts_when_all_its_folds_are_there(grid, tmp_path):
    (tmp_path / "results" / "seed_1" / DATASET / "FirstTrainer__nnUNetPlans__3d_fullres" / "fold_1" / "validation"
     / "summary.json").unlink()  # fmt: skip
    scores = collect(grid).scores
    assert set(scores[scores["method"] == "first"]["seed"]) == {0}
    assert tables.table_1(results_of(scores.assign(dataset="D")), "D")["runs"].to_list() == [2, 4, 4]


def test_nothing_finished_is_one_sentence(grid):
    for file in (grid.folder.parent / "results").rglob("summary.json"):
        file.unlink()
    with pytest.raises(UserError, match="Nothing of .* is finished yet"):
        collect(grid)
