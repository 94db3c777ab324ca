"""The order in which jobs go to an engine, with an engine that does what a test says."""

import json
from pathlib import Path

import pytest

from msam_nn.arena.jobs import Job
from msam_nn.arena.schedule import FAILED, FINISHED, SKIPPED, run_jobs


class Pretend:
    """Ends every submitted job at the next look; jobs named in ``failing`` write no file."""

    def __init__(self, folder, failing=(), room=1, queues=False, adopted=()):
        self.folder, self.failing, self.room, self.queues, self.adopted = folder, failing, room, queues, adopted
        self.open, self.log = [], []

    def has_room(self):
        return len(self.open) < self.room

    def adopt(self, job, folder):
        if job.name in self.adopted:
            self.open.append(job)
        return job.name in self.adopted

    def submit(self, job, folder, after):
        self.log.append((job.name, tuple(after)))
        self.open.append(job)

    def ended(self):
        for job in self.open:
            status = int(job.name in self.failing)
            if not status:
                for file in job.files:
                    file.touch()
            folder = self.folder / job.name
            folder.mkdir(exist_ok=True)
            with (folder / "attempts.jsonl").open("a") as made:
                made.write(json.dumps({"status": status}) + "\n")
        names, self.open = {job.name for job in self.open}, []
        return names


@pytest.fixture
def jobs(tmp_path):
    """plan -> train a, train b -> clicks a -> report, whatever comes of them."""

    def job(name, *after, **more):
        return Job(name, "train", ("true",), after, (tmp_path / f"{name}.done",), **more)

    return [job("plan"), job("a", "plan"), job("b", "plan"), job("clicks", "a"),
            Job("report", "report", ("true",), ("a", "b", "clicks"), whatever_comes=True)]  # fmt: skip


def run(jobs, engine):
    return run_jobs(jobs, lambda name: Path(engine.folder, name), engine, lambda states: None, seconds=0)


def test_one_after_the_other(jobs, tmp_path):
    engine = Pretend(tmp_path)
    assert set(run(jobs, engine).values()) == {FINISHED}
    assert [name for name, after in engine.log] == ["plan", "a", "b", "clicks", "report"]
    assert not any(after for _, after in engine.log)


def test_what_is_finished_is_not_repeated(jobs, tmp_path):
    run(jobs, Pretend(tmp_path))
    again = Pretend(tmp_path)
    assert set(run(jobs, again).values()) == {FINISHED} and again.log == [("report", ())]


def test_a_failure_skips_what_waits_for_it_and_nothing_else(jobs, tmp_path):
    engine = Pretend(tmp_path, failing=("a",), room=9)
    states = run(jobs, engine)
    assert states == {"plan": FINISHED, "a": FAILED, "b": FINISHED, "clicks": SKIPPED, "report": FINISHED}
    assert [name for name, _ in engine.log] == ["plan", "a", "b", "report"]


def test_an_engine_with_a_queue_gets_everything_with_its_dependencies(jobs, tmp_path):
    engine = Pretend(tmp_path, room=9, queues=True)
    assert set(run(jobs, engine).values()) == {FINISHED}
    assert engine.log == [("plan", ()), ("a", ("plan",)), ("b", ("plan",)), ("clicks", ("a",)),
                          ("report", ("a", "b", "clicks"))]  # fmt: skip


def test_jobs_of_an_earlier_session_are_taken_over(jobs, tmp_path):
    engine = Pretend(tmp_path, adopted=("plan",))
    assert set(run(jobs, engine).values()) == {FINISHED}
    assert [name for name, _ in engine.log] == ["a", "b", "clicks", "report"]


def test_a_job_that_leaves_no_attempt_has_not_succeeded_because_it_once_did(jobs, tmp_path):
    class Killed(Pretend):
        def ended(self):
            names, self.open = {job.name for job in self.open}, []
            return names

    run(jobs, Pretend(tmp_path))
    assert run(jobs, Killed(tmp_path))["report"] == FAILED


def test_no_exit_status_makes_up_for_a_missing_file(jobs, tmp_path):
    class Liar(Pretend):
        def ended(self):
            names = super().ended()
            (self.folder / "b.done").unlink(missing_ok=True)
            return names

    assert run(jobs, Liar(tmp_path))["b"] == FAILED
