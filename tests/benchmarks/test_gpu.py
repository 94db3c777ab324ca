"""The GPU command: its limits and what it says is missing; and all of it, small, on the CPU."""

import ast
import importlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

from gpu_parts import runner  # noqa: E402
from gpu_parts.page import table, write_page  # noqa: E402
from gpu_parts.runner import Part, Runner, run_limited  # noqa: E402


def outcomes(tmp_path, parts, monkeypatch, script, seconds=60.0, has_data=True):
    """Run parts whose process is ``script``, a Python program with the part's options as arguments."""
    monkeypatch.setattr(runner, "PARTS", parts)
    file = tmp_path / "script.py"
    file.write_text(script)
    return list(Runner([sys.executable, str(file)], seconds, has_data, tmp_path).results())


def test_a_part_that_fails_or_hangs_costs_only_itself_and_keeps_its_rows(tmp_path, monkeypatch):
    script = (
        "import sys, time, pathlib\n"
        "part, rows = sys.argv[2], pathlib.Path(sys.argv[-1])\n"
        "rows.write_text('[{\"a\": 1}]')\n"
        "if part == 'hangs': time.sleep(600)\n"
        "if part == 'fails': raise RuntimeError('no such thing')\n"
    )
    parts = (Part("fails", "F", 1, ()), Part("hangs", "H", 1, ()), Part("works", "W", 8, ()))
    began = time.monotonic()
    failed, hung, worked = outcomes(tmp_path, parts, monkeypatch, script, seconds=40)
    assert time.monotonic() - began < 40
    assert failed["status"] == "failed" and failed["why"] == "RuntimeError: no such thing"
    assert hung["status"] == "stopped" and hung["why"].startswith("its limit of 4 s")
    assert worked["status"] == "done" and [r["rows"] for r in (failed, hung, worked)] == [[{"a": 1}]] * 3


def test_variants_get_the_same_time(tmp_path, monkeypatch):
    script = "import sys, json, pathlib; pathlib.Path(sys.argv[-1]).write_text(json.dumps([{'s': sys.argv[6]}]))"
    parts = (Part("x", "X", 1, (), variants=("one", "two")), Part("y", "Y", 3, ()))
    one, two, last = outcomes(tmp_path, parts, monkeypatch, script, seconds=800)
    assert one["rows"] == two["rows"] == [{"s": "100"}]
    assert float(last["rows"][0]["s"]) > 700, "time left over goes on"


def test_what_is_missing_is_said(tmp_path, monkeypatch):
    parts = (Part("x", "X", 1, ("json", "no_such_package", "nor_this")), Part("y", "Y", 1, (), needs_data=True))
    packages, data = outcomes(tmp_path, parts, monkeypatch, "", has_data=False)
    assert packages["status"] == "left out" and packages["why"] == "not installed: no_such_package, nor_this"
    assert data["status"] == "left out" and data["why"] == "no --data"
    write_page(tmp_path / "page.md", {"machine": {}, "command": "c", "dry run": False, "parts": [packages, data]})
    assert "left out: no --data." in (tmp_path / "page.md").read_text(encoding="utf-8")


def test_what_a_stopped_part_started_ends_with_it(tmp_path):
    child = "import time, pathlib; time.sleep(4); pathlib.Path('survived').touch()"
    script = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {child!r}]); time.sleep(60)"
    with (tmp_path / "log").open("w") as log:
        status, _ = run_limited([sys.executable, "-c", f"import os; os.chdir({str(tmp_path)!r}); {script}"], 2, log)
    time.sleep(4)
    assert status == "stopped" and not (tmp_path / "survived").exists()


def test_rows_with_different_columns_make_one_table():
    lines = table([{"a": 1, "b": None}, {"a": 2, "c": "x"}])
    assert lines == ["| a | b | c |", "| --- | --- | --- |", "| 1 |  |  |", "| 2 |  | x |"]


def gpu(*arguments):
    command = [sys.executable, str(BENCHMARKS / "gpu.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, encoding="utf-8")


def test_data_that_are_none_get_one_sentence(tmp_path):
    process = gpu("--dry-run", "--data", tmp_path, "-o", tmp_path / "out")
    assert process.returncode == 2 and "no dataset.json" in process.stderr and "Traceback" not in process.stderr
    assert not (tmp_path / "out").exists()


def test_too_few_minutes_get_one_sentence(tmp_path):
    process = gpu("--dry-run", "--minutes", 1, "-o", tmp_path / "out")
    assert process.returncode == 2 and "--minutes 1 would stop parts before" in process.stderr
    assert len(process.stderr.splitlines()) == 1 and not (tmp_path / "out").exists()


def test_the_page_shows_a_command_to_paste(tmp_path, monkeypatch):
    import gpu as program

    left_out = {"part": "x", "variant": "", "title": "X", "status": "left out", "why": "w", "seconds": 0, "rows": []}
    monkeypatch.setattr(program.Runner, "results", lambda self: iter([left_out]))
    monkeypatch.setattr(sys, "argv", ["benchmarks/gpu.py", "--dry-run", "-o", str(tmp_path / "a run")])
    assert program.main() == 0
    page = (tmp_path / "a run" / "gpu.md").read_text(encoding="utf-8")
    assert f"python benchmarks/gpu.py --dry-run -o '{tmp_path / 'a run'}'" in page


@pytest.mark.slow
@pytest.mark.skipif("MSAM_NN_LONG" not in os.environ, reason="takes several minutes: set MSAM_NN_LONG=1")
def test_dry_run_does_every_part(tmp_path):
    process = gpu("--dry-run", "--minutes", 30, "-o", tmp_path)
    assert process.returncode == 0, process.stdout + process.stderr
    report = json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))
    rows = {(part["part"], part["variant"]): part["rows"] for part in report["parts"]}
    assert [part["status"] for part in report["parts"]] == ["done"] * 9
    assert max(float(row["float32"]) for row in rows["reference", ""]) < 1e-4
    assert all(row["graph breaks"] == 0 for row in rows["compilation", ""])
    assert len(rows["speed", ""]) == 7 and len(rows["latency", ""]) == 2
    clicks = ["0", "1", "3", "5", "10"]
    for method in ("MSAMTrainer", "MSAMUNetTrainer"):
        assert [list(row)[4:] for row in rows["training", method]] == [["0"], clicks, clicks]
    page = (tmp_path / "gpu.md").read_text(encoding="utf-8")
    assert "dry run" in page and page.count("## ") == 6


@pytest.mark.parametrize("part", sorted(path.stem for path in (BENCHMARKS / "gpu_parts").glob("[a-z]*.py")))
def test_whatever_a_part_imports_when_it_runs_is_there(part):
    tree = ast.parse((BENCHMARKS / "gpu_parts" / f"{part}.py").read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] not in ("torch", "nnunetv2", "tests"):
            module = importlib.import_module(node.module)
            assert all(hasattr(module, name.name) for name in node.names), node.module
