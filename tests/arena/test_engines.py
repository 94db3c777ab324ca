"""Every engine for real: processes of this machine, a SLURM and a Ray that the test starts."""

import os
import shlex
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import pytest

from msam_nn.arena import engines
from msam_nn.arena.attempt import NOT_STARTED, attempts, last_lines, running
from msam_nn.arena.engines import cores_of_a_job, job_environment, make_engine, own_cores
from msam_nn.arena.grid import Grid
from msam_nn.arena.jobs import Job
from msam_nn.arena.schedule import FAILED, FINISHED, SKIPPED, run_jobs
from msam_nn.errors import UserError

from .slurm import running_slurm, why_not

FOLDERS = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")


@pytest.fixture
def grid(tmp_path, monkeypatch):
    for name in FOLDERS:
        monkeypatch.setenv(name, str(tmp_path / name))
    return Grid(tmp_path / "grid.yaml", tmp_path / "grid_arena", (), (), {}, device="cpu", cores_per_job=1,
                slurm={"time": 5})  # fmt: skip


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    if reason := why_not():
        pytest.skip(reason)
    with running_slurm(tmp_path_factory.mktemp("slurm")) as configuration:
        yield str(configuration)


@pytest.fixture(params=["local", pytest.param("slurm", marks=pytest.mark.slurm), pytest.param("ray")])
def on(request, monkeypatch):
    """The name of an engine that is ready."""
    if request.param == "slurm":
        monkeypatch.setenv("SLURM_CONF", request.getfixturevalue("slurm"))
    if request.param == "ray":
        ray = pytest.importorskip("ray", reason='needs pip install "msam_nn[ray]"')
        request.addfinalizer(ray.shutdown)
    return request.param


def shell(name, text, tmp_path, *after, **more):
    """A job that appends its name to ``order``, after ``text``, and is finished by a file of its name."""
    done = tmp_path / f"{name}.done"
    script = f"{text}; echo {name} >> {shlex.quote(str(tmp_path / 'order'))}; touch {shlex.quote(str(done))}"
    return Job(name, "train", ("sh", "-c", f"set -e; {script}"), after, (done,), **more)


def run(grid, jobs, on):
    return run_jobs(jobs, grid.job_folder, make_engine(on, grid, 1), lambda states: None, seconds=0.2)


def test_order_failures_and_what_is_noted(grid, on, tmp_path):
    jobs = [
        shell("plan", 'test "$OMP_NUM_THREADS$EXTRA" = 12', tmp_path, environment={"EXTRA": "2"}),
        shell("bad", "echo the cat sat on the keyboard; exit 3", tmp_path, "plan"),
        shell("good", "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done", tmp_path, "plan"),
        shell("clicks", "true", tmp_path, "bad"),
        replace(shell("report", "true", tmp_path, "bad", "good", "clicks"), whatever_comes=True),
    ]
    states = run(grid, jobs, on)
    expected = {"plan": FINISHED, "bad": FAILED, "good": FINISHED, "clicks": SKIPPED, "report": FINISHED}
    assert states == expected
    assert (tmp_path / "order").read_text().split() == ["plan", "good", "report"]
    (bad,), (good,) = attempts(grid.job_folder(jobs[1].name)), attempts(grid.job_folder(jobs[2].name))
    assert bad["status"] == 3 and last_lines(grid.job_folder(jobs[1].name))[-1] == "the cat sat on the keyboard"
    assert good["status"] == 0 and 0.02 < good["cpu_seconds"] < 60 and good["seconds"] > 0
    assert attempts(grid.job_folder(jobs[3].name)) == [] and not running(grid.job_folder(jobs[2].name))


def test_a_killed_command_fails_and_succeeds_when_run_again(grid, on, tmp_path):
    job = shell("long", f"while ! test -e {tmp_path}/go_on; do sleep 0.1; done", tmp_path)
    folder = grid.job_folder(job.name)

    def kill():
        while not (mark := running(folder)):
            time.sleep(0.1)
        os.kill(mark["pid"], signal.SIGKILL)

    killer = Thread(target=kill)
    killer.start()
    assert run(grid, [job], on) == {"long": FAILED}
    killer.join()
    (tmp_path / "go_on").touch()
    assert run(grid, [job], on) == {"long": FINISHED}
    assert [entry["status"] for entry in attempts(folder)] == [-signal.SIGKILL, 0]


def test_a_command_that_cannot_start_fails_and_the_log_says_why(grid, tmp_path):
    job = Job("lost", "train", ("no_such_command", "-d", "1"), (), (tmp_path / "lost.done",))
    assert run(grid, [job], "local") == {"lost": FAILED}
    folder = grid.job_folder(job.name)
    assert [entry["status"] for entry in attempts(folder)] == [NOT_STARTED]
    assert "no_such_command" in last_lines(folder)[-1] and "No such file" in last_lines(folder)[-1]


def test_a_torn_line_hides_no_other_attempt(grid, tmp_path):
    job = shell("again", "true", tmp_path)
    folder = grid.job_folder(job.name)
    folder.mkdir(parents=True)
    (folder / "attempts.jsonl").write_text('{"status": 3}\n{"host": "no')
    assert [entry["status"] for entry in attempts(folder)] == [3]
    assert run(grid, [job], "local") == {"again": FINISHED}
    assert [entry["status"] for entry in attempts(folder)] == [3, 0]


class FakeExecutor:
    """Keeps what it is told."""

    def __init__(self, folder):
        self.parameters = {}
        self.told = []

    def update_parameters(self, **parameters):
        self.parameters.update(parameters)

    def submit(self, *arguments):
        self.told.append(dict(self.parameters))
        return SimpleNamespace(job_id=str(len(self.told)), paths=SimpleNamespace(result_pickle=Path("result")))


def test_own_slurm_options_stay_beside_those_of_a_dependency(grid, tmp_path, monkeypatch):
    monkeypatch.setattr(engines, "_submitit", lambda: SimpleNamespace(SlurmExecutor=FakeExecutor))
    own = {"additional_parameters": {"constraint": "a100"}, "gpus_per_node": "a100:1"}
    engine = engines.Slurm(replace(grid, slurm=own, device="cuda"), {}, 1)
    first, second = shell("first", "true", tmp_path), shell("second", "true", tmp_path, "first")
    for job in (first, second):
        engine.submit(job, grid.job_folder(job.name), job.after)
    alone, waiting = engine.executor.told
    assert alone["additional_parameters"] == {"constraint": "a100"} and alone["dependency"] is None
    assert waiting["additional_parameters"] == {"constraint": "a100", "kill-on-invalid-dep": "yes"}
    assert waiting["dependency"] == "afterok:1" and waiting["gpus_per_node"] == "a100:1"


def test_a_damaged_note_of_slurms_number_starts_nothing_twice(grid, tmp_path, monkeypatch):
    monkeypatch.setattr(engines, "_submitit", lambda: SimpleNamespace(SlurmExecutor=FakeExecutor))
    engine, job = engines.Slurm(grid, {}, 1), shell("long", "true", tmp_path)
    folder = grid.job_folder(job.name)
    engine.submit(job, folder, ())
    assert [file.name for file in folder.iterdir()] == ["slurm.json"]
    (folder / "slurm.json").write_text((folder / "slurm.json").read_text()[:9])
    with pytest.raises(UserError, match="slurm.json is damaged.* whether long still runs"):
        engine.adopt(job, folder)


@pytest.mark.slurm
def test_slurm_goes_on_without_the_session(grid, slurm, tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_CONF", slurm)
    first = shell("first", f"while ! test -e {tmp_path}/go_on; do sleep 0.1; done", tmp_path)
    second = shell("second", "true", tmp_path, "first")

    def interrupt(states):
        if running(grid.job_folder(first.name)):
            raise KeyboardInterrupt

    engine = make_engine("slurm", grid, 1)
    with pytest.raises(KeyboardInterrupt):
        run_jobs([first, second], grid.job_folder, engine, interrupt, seconds=0.2)
    assert "SLURM goes on" in engine.interrupt()
    (tmp_path / "go_on").touch()
    assert run(grid, [first, second], "slurm") == {"first": FINISHED, "second": FINISHED}
    assert [len(attempts(grid.job_folder(job.name))) for job in (first, second)] == [1, 1]


def test_as_many_at_once_as_the_grid_says(grid, tmp_path):
    two = replace(grid, jobs=2)
    wait = "while ! test -e {0}/{1}.here; do sleep 0.05; done"
    jobs = [
        shell("a", f"touch {tmp_path}/a.here; {wait.format(tmp_path, 'b')}", tmp_path),
        shell("b", f"touch {tmp_path}/b.here; {wait.format(tmp_path, 'a')}", tmp_path),
    ]
    assert set(run(two, jobs, "local").values()) == {FINISHED}


def test_an_interrupt_reaches_the_command_once(grid, tmp_path):
    script = (
        "import sys, time\nseen = 0\n"
        "try:\n    time.sleep(60)\nexcept KeyboardInterrupt:\n    seen = 1\n"
        "try:\n    time.sleep(1)\nexcept KeyboardInterrupt:\n    seen = 2\n"
        "print('seen', seen); sys.exit(5)"
    )
    job = Job("python", "train", (sys.executable, "-c", script), files=(tmp_path / "never",))
    engine = make_engine("local", grid, 1)

    def interrupt(states):
        if running(grid.job_folder(job.name)):
            time.sleep(1)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_jobs([job], grid.job_folder, engine, interrupt, seconds=0.2)
    assert engine.interrupt() == "The jobs that ran were stopped"
    assert last_lines(grid.job_folder(job.name))[-1] == "seen 1"
    assert attempts(grid.job_folder(job.name))[-1]["status"] == 5


def test_a_job_of_another_session_is_not_started_twice(grid, tmp_path):
    job = shell("busy", "true", tmp_path)
    folder = grid.job_folder(job.name)
    folder.mkdir(parents=True)
    import json
    import socket

    (folder / "running.json").write_text(json.dumps({"host": socket.gethostname(), "pid": os.getpid()}))
    with pytest.raises(UserError, match=f"busy still runs as process {os.getpid()}"):
        run(grid, [job], "local")
    (folder / "running.json").write_text(json.dumps({"host": socket.gethostname(), "pid": 2**22 + 1}))
    assert run(grid, [job], "local") == {"busy": FINISHED}


def test_cores_are_divided(grid):
    shared = replace(grid, cores_per_job=None, jobs=2)
    assert cores_of_a_job(shared, "local") == max(1, own_cores() // 2)
    assert cores_of_a_job(shared, "slurm") == 8 and cores_of_a_job(grid, "slurm") == 1
    environment = job_environment(replace(grid, environment={"nnUNet_n_proc_DA": "7"}), 3)
    assert environment["OMP_NUM_THREADS"] == environment["nnUNet_def_n_proc"] == "3"
    assert environment["nnUNet_n_proc_DA"] == "7" and set(FOLDERS) <= set(environment)


def test_jobs_get_a_gpu_each_whatever_it_is_called(grid, monkeypatch, tmp_path):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-8932, 3")
    jobs = [shell(name, f'echo "$CUDA_VISIBLE_DEVICES" > {tmp_path / name}.gpu; sleep 1', tmp_path) for name in "ab"]
    assert set(run(replace(grid, device="cuda"), jobs, "local").values()) == {FINISHED}
    assert [(tmp_path / f"{name}.gpu").read_text().strip() for name in "ab"] == ["GPU-8932", "3"]


def test_no_gpu_is_told(grid, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(UserError, match="write device: cpu in"):
        make_engine("local", replace(grid, device="cuda"), 1)


def test_no_slurm_is_told(grid, monkeypatch):
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    with pytest.raises(UserError, match="SLURM cannot be used"):
        make_engine("slurm", grid, 1)
