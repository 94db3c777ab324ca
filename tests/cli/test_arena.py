"""``msam arena`` at the terminal, without a training."""

import pytest

from msam_nn.arena.template import TEMPLATE
from msam_nn.cli import main

pytest.importorskip("submitit", reason='needs pip install "msam_nn[arena]"')
GRID = "datasets: [900]\ndevice: cpu\ncores_per_job: 1\nmethods: {M-SAM: {trainer: MSAMTrainer, plans: MSAMPlans}}\n"


@pytest.fixture
def grid(nnunet_folders, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "grid.yaml").write_text(GRID)
    monkeypatch.setenv("nnUNet_results", str(tmp_path / "results"))
    (tmp_path / "results").mkdir()
    return tmp_path


def test_init_writes_the_template_once(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main.main(["arena", "init"]) == 0
    assert (tmp_path / "grid.yaml").read_text(encoding="utf-8") == TEMPLATE
    assert main.main(["arena", "init"]) == 2 and "exists already" in capsys.readouterr().err
    assert main.main(["arena", "init", "--force"]) == 0 and main.main(["arena", "init", "my grid.yaml"]) == 0
    assert "msam arena 'my grid.yaml' --dry-run" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["status"], ["report", "a.yaml", "b.yaml"], ["a.yaml", "b.yaml"]])
def test_one_grid_is_named(words, capsys):
    assert main.main(["arena", *words]) == 2
    assert "Name one grid: msam arena" in capsys.readouterr().err


def test_a_dry_run_prints_commands_and_writes_nothing(grid, capsys):
    before = set(grid.iterdir())
    assert main.main(["arena", "grid.yaml", "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "export OMP_NUM_THREADS=1" in lines and f"export nnUNet_results={grid / 'results'}" in lines
    assert lines[-2:] == [
        "nnUNetv2_train Dataset900_TumourPhantom 3d_fullres 0 -tr MSAMTrainer -p MSAMPlans -device cpu",
        f"msam arena report {grid / 'grid.yaml'} -o {grid / 'grid_arena' / 'report'} --force",
    ]
    assert set(grid.iterdir()) == before


def test_status_tells_killed_and_failed_jobs(grid, capsys):
    assert main.main(["arena", "status", "grid.yaml"]) == 0
    assert "waiting" in capsys.readouterr().out
    model = "train.Dataset900_TumourPhantom.MSAMTrainer__MSAMPlans__3d_fullres.fold_0"
    job = grid / "grid_arena" / "jobs" / model
    job.mkdir(parents=True)
    (job / "log.txt").write_text("first line\nthe cat sat on the keyboard\n")
    (job / "attempts.jsonl").write_text('{"status": 1}\n')
    assert main.main(["arena", "status", "grid.yaml"]) == 1
    printed = capsys.readouterr().out
    assert f"{model} failed" in printed and "the cat sat on the keyboard" in printed
    (job / "running.json").write_text(f'{{"host": "{__import__("socket").gethostname()}", "pid": {2**22 + 1}}}')
    assert main.main(["arena", "status", "grid.yaml"]) == 1
    assert f"{model} killed" in capsys.readouterr().out


def test_a_started_grid_wants_resume(grid, capsys):
    (grid / "grid_arena" / "jobs").mkdir(parents=True)
    assert main.main(["arena", "grid.yaml"]) == 2
    assert "add --resume to go on" in capsys.readouterr().err


def test_nothing_to_report_is_one_sentence(grid, capsys):
    assert main.main(["arena", "report", "grid.yaml", "-o", "report"]) == 2
    assert "is finished yet" in capsys.readouterr().err and not (grid / "report").exists()
    (grid / "grid.yaml").rename(grid / "my grid.yaml")
    assert main.main(["arena", "report", "my grid.yaml", "-o", "report"]) == 2
    assert capsys.readouterr().err.endswith(f"run it first: msam arena '{grid / 'my grid.yaml'}'\n")


def test_what_is_not_installed_is_named(grid, capsys, monkeypatch):
    monkeypatch.setattr("msam_nn.cli.arena.find_spec", lambda module: None if module == "submitit" else module)
    assert main.main(["arena", "grid.yaml"]) == 2
    assert capsys.readouterr().err == 'msam arena: It needs submitit: pip install "msam_nn[arena]".\n'


def test_what_runs_no_job_needs_no_package_for_jobs(grid, capsys, monkeypatch):
    monkeypatch.setattr("msam_nn.cli.arena.find_spec", lambda module: None if module == "submitit" else module)
    assert main.main(["arena", "grid.yaml", "--dry-run"]) == 0 and main.main(["arena", "status", "grid.yaml"]) == 0
    assert main.main(["arena", "status", "nope.yaml"]) == 2
    assert "There is no grid nope.yaml" in capsys.readouterr().err
