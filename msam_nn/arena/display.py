"""What the terminal shows: how many jobs of each stage are where, what runs now, and why a job failed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from msam_nn.arena.attempt import attempts, last_lines, running
from msam_nn.arena.jobs import STAGES, Job
from msam_nn.arena.schedule import FAILED, FINISHED, SKIPPED, SUBMITTED, WAITING, States

RUNNING, KILLED = "running", "killed"
COLUMNS = (FINISHED, RUNNING, SUBMITTED, WAITING, KILLED, FAILED, SKIPPED)
COLOURS = {FINISHED: "green", RUNNING: "cyan", FAILED: "red", KILLED: "red", SKIPPED: "yellow"}
STAMP = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+: ")
LOG_LINES = 200

FolderOf = Callable[[str], Path]


class Watch:
    """A table that stays up to date on a terminal; elsewhere a line for every job that starts or ends."""

    def __init__(self, jobs: Sequence[Job], folder_of: FolderOf, console: Console | None = None) -> None:
        self.jobs, self.folder_of = jobs, folder_of
        self.console = console or Console()
        self.live = Live(console=self.console, refresh_per_second=2, transient=False)
        self.told: States = {}

    def __enter__(self) -> Watch:
        if self.console.is_terminal:
            self.live.start()
        return self

    def __exit__(self, *exception) -> None:
        self.live.stop()

    def __call__(self, states: States) -> None:
        if self.console.is_terminal:
            self.live.update(overview(self.jobs, with_running(self.jobs, states, self.folder_of), self.folder_of))
            return
        for name, state in states.items():
            before = self.told.get(name, WAITING if state == SUBMITTED else state)
            if state != before and state != WAITING:
                self.console.print(f"{state:<10}{name}", highlight=False, soft_wrap=True)
        self.told = dict(states)


def with_running(jobs: Sequence[Job], states: States, folder_of: FolderOf) -> States:
    """The same states, those jobs told apart that have begun."""
    begun = {job.name for job in jobs if states[job.name] == SUBMITTED and running(folder_of(job.name))}
    return {name: RUNNING if name in begun else state for name, state in states.items()}


def states_by_files(jobs: Sequence[Job], needed: set[str], folder_of: FolderOf) -> States:
    """The states as files tell them, without the session that runs the jobs."""

    def state(job: Job) -> str:
        folder = folder_of(job.name)
        made = attempts(folder)
        if running(folder):
            return RUNNING
        if job.name not in needed or (not job.files and made and made[-1]["status"] == 0):
            return FINISHED
        if (folder / "running.json").is_file():
            return KILLED
        return FAILED if made and made[-1]["status"] else WAITING

    return {job.name: state(job) for job in jobs}


def overview(jobs: Sequence[Job], states: States, folder_of: FolderOf) -> Group:
    """Jobs counted by stage, and a line on each that runs."""
    counts = Counter((job.stage, states[job.name]) for job in jobs)
    shown = [state for state in COLUMNS if any(counts[stage, state] for stage in STAGES)]
    table = Table("stage", *shown, box=None, padding=(0, 2, 0, 0))
    for stage in STAGES:
        if any(job.stage == stage for job in jobs):
            numbers = [Text(str(counts[stage, s] or "·"), COLOURS.get(s, "")) for s in shown]
            table.add_row(stage, *numbers)
    lines = [Text(f"{job.name}  {doing(folder_of(job.name))}") for job in jobs if states[job.name] == RUNNING]
    return Group(table, *lines)


def doing(folder: Path) -> str:
    """The epoch that a training is in and its last pseudo Dice, or the last line of the log."""
    lines = [STAMP.sub("", line).strip() for line in last_lines(folder, LOG_LINES)]
    epoch = next((line for line in reversed(lines) if line.startswith("Epoch ") and line[6:].isdecimal()), None)
    dice = next((line for line in reversed(lines) if line.startswith("Pseudo dice")), None)
    if epoch is None:
        return lines[-1] if lines else ""
    return f"{epoch}, {dice}" if dice else epoch


def print_failures(jobs: Sequence[Job], states: States, folder_of: FolderOf, console: Console) -> None:
    """The last lines of the log of every failed or killed job."""
    for job in jobs:
        if states[job.name] in (FAILED, KILLED):
            folder = folder_of(job.name)
            console.print(
                f"\n{job.name} {states[job.name]}; {folder / 'log.txt'} ends with", style="bold red", soft_wrap=True
            )
            for line in last_lines(folder):
                console.print(Text(f"  {line}"), soft_wrap=True)
