"""Options of ``msam clicks``; the command itself runs in ``tests/end_to_end``."""

import pandas as pd
import pytest

from msam_nn.cli.main import main


def clicks(*arguments):
    return main(["clicks", "-d", "900", "-device", "cpu", *map(str, arguments)])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-n", 0), "from 1 on, got 0"),
        (("--tolerance", -1), "from 0 on, got -1"),
        (("--protocol", "paper", "--strategy", "centre"), "leave out --strategy"),
        (("--protocol", "paper", "--start", "empty"), "--strategy, --start and --network-only"),
        (("--start", "automatc"), "there is no folder automatc"),
        (("--protocol", "paper", "--network-only"), "--strategy, --start and --network-only"),
    ],
)
def test_options_that_make_no_sense_get_one_sentence(arguments, message, capsys):
    assert clicks(*arguments) == 2
    error = capsys.readouterr().err
    assert message in error and len(error.strip().splitlines()) == 1


@pytest.mark.parametrize(("fold", "message"), [("all", "fold all has no validation cases"), ("x", "invalid fold")])
def test_what_is_no_fold_of_the_split(fold, message, capsys):
    with pytest.raises(SystemExit):
        clicks("-f", fold)
    assert message in capsys.readouterr().err


def test_results_are_not_overwritten_and_this_is_said_at_once(tmp_path, capsys):
    (tmp_path / "scores.csv").write_text("precious")
    assert clicks("-o", tmp_path) == 2
    assert "exists already" in capsys.readouterr().err
    assert (tmp_path / "scores.csv").read_text(encoding="utf-8") == "precious"


@pytest.fixture
def outcome(nnunet_folders, monkeypatch, tmp_path):
    """What the measurement shall give."""
    from msam_nn import nnunet_folders as module
    from msam_nn.evaluation.clicks import protocol

    monkeypatch.setattr(module, "model_folder", lambda *a: tmp_path)
    monkeypatch.setattr(module, "validation_cases", lambda *a: {})
    return lambda scores, failed: monkeypatch.setattr(protocol, "run_protocol", lambda *a: (scores, failed))


def test_a_case_that_fails_does_not_stop_the_others(outcome, capsys, tmp_path):
    good = [
        {"case": "good", "label": "organ", "strategy": "centre", "seed": 0, "clicks": n, "dice": 0.5, "iou": 0.4,
         "nsd": 0.3, "hd95": 2.0, "seconds": 1.0, "true_voxels": 4}
        for n in (0, 1)
    ]  # fmt: skip
    outcome(pd.DataFrame(good), {"bad": "unreadable"})
    assert clicks("-f", 0, "-n", 1, "-o", tmp_path / "out") == 1
    captured = capsys.readouterr()
    assert "bad failed: unreadable" in captured.err and "0.500" in captured.out
    assert {f.name for f in (tmp_path / "out").iterdir()} == {"clicks.csv", "curves.csv", "summary.md", "failed.csv"}


def test_nothing_is_half_written(outcome, tmp_path):
    outcome(pd.DataFrame({"case": ["a"]}), {})
    with pytest.raises(KeyError):
        clicks("-f", 0, "-o", tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_where_all_cases_fail_earlier_results_stay(outcome, capsys, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "clicks.csv").write_text("precious")
    outcome(pd.DataFrame(), {"bad": "unreadable"})
    assert clicks("-f", 0, "-o", tmp_path / "out", "--force") == 2
    assert "No case could be clicked, and nothing is written; the first: bad, unreadable" in capsys.readouterr().err
    assert [f.read_text(encoding="utf-8") for f in (tmp_path / "out").iterdir()] == ["precious"]
