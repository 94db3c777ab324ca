import importlib.util
import json
import sys
from pathlib import Path

import pytest

SPEC = importlib.util.spec_from_file_location(
    "learning_curves", Path(__file__).resolve().parents[3] / "benchmarks" / "accuracy" / "learning_curves.py"
)
curves = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(curves)


@pytest.fixture
def results(tmp_path):
    """Two trainers at two budgets; one has two seeds, and one training that is no budget's."""
    for seed, model, dice in (
        (1, "nnUNetTrainer_5cpuminutes__nnUNetPlans__3d_fullres", 0.2),
        (2, "nnUNetTrainer_5cpuminutes__nnUNetPlans__3d_fullres", 0.4),
        (1, "nnUNetTrainer_15cpuminutes__nnUNetPlans__3d_fullres", 0.8),
        (1, "MSAMTrainer_5cpuminutes__MSAMPlans__3d_fullres", 0.7),
        (1, "MSAMTrainer__MSAMPlans__3d_fullres", 0.9),
    ):
        folder = tmp_path / f"seed_{seed}" / "Dataset004_Hippocampus" / model / "fold_0" / "validation"
        folder.mkdir(parents=True)
        (folder / "summary.json").write_text(json.dumps({"foreground_mean": {"Dice": dice}}))
    return tmp_path


def test_seeds_are_averaged_and_counted(results):
    table = curves.summarise(curves.read_scores(results)).loc["Dataset004_Hippocampus"]
    assert table.loc[(5, "nnUNetTrainer")].tolist() == pytest.approx([0.3, 0.2, 0.4, 2])
    assert table.loc[(15, "nnUNetTrainer")].tolist() == pytest.approx([0.8, 0.8, 0.8, 1])
    assert len(table) == 3


def test_a_curve_a_trainer(results):
    (axes,) = curves.draw(curves.read_scores(results)).axes
    drawn = {line.get_label(): list(zip(*line.get_data(), strict=True)) for line in axes.get_lines()}
    assert drawn == {"nnUNetTrainer": [(5, pytest.approx(0.3)), (15, 0.8)], "MSAMTrainer": [(5, 0.7)]}


def test_the_command(results, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["learning_curves.py", str(results), "-o", str(results / "curves.png")])
    curves.main()
    assert "| Dataset004_Hippocampus | 5 | nnUNetTrainer | 0.300 |" in capsys.readouterr().out
    assert (results / "curves.png").stat().st_size > 1000


def test_nothing_to_draw_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["learning_curves.py", str(tmp_path), "-o", str(tmp_path / "curves.png")])
    with pytest.raises(SystemExit, match="holds no seed_<n>"):
        curves.main()
