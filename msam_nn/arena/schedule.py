"""Jobs handed to an engine as soon as they may start, and what became of each."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from msam_nn.arena.attempt import attempts
from msam_nn.arena.engines import Engine
from msam_nn.arena.jobs import Job, still_needed

FINISHED, WAITING, SUBMITTED, FAILED, SKIPPED = "finished", "waiting", "submitted", "failed", "skipped"
SETTLED = (FINISHED, FAILED, SKIPPED)

States = dict[str, str]
"""Name of a job -> one of the words above."""


def run_jobs(
    jobs: Sequence[Job],
    folder_of: Callable[[str], Path],
    engine: Engine,
    watch: Callable[[States], None],
    seconds: float = 1.0,
) -> States:
    """Run what is not finished; a job whose predecessor failed is skipped, all others go on.

    Arguments:
        folder_of: a job's name to the folder of its log.
        watch: is shown the states every ``seconds``.

    Raises:
        UserError: if a job still runs from an earlier session that the engine cannot take over.
    """
    needed, earlier = still_needed(jobs), {job.name: len(attempts(folder_of(job.name))) for job in jobs}
    states = {job.name: WAITING if job.name in needed else FINISHED for job in jobs}
    for job in jobs:
        if states[job.name] == WAITING and engine.adopt(job, folder_of(job.name)):
            states[job.name] = SUBMITTED
    while any(state not in SETTLED for state in states.values()):
        ended = engine.ended()
        for job in jobs:
            if job.name in ended:
                made = attempts(folder_of(job.name))[earlier[job.name] :]
                states[job.name] = SKIPPED if _is_hopeless(job, states) else _outcome(job, made)
        for job in jobs:
            if states[job.name] == WAITING:
                _hand_over(job, states, engine, folder_of(job.name))
        watch(states)
        time.sleep(seconds)
    watch(states)
    return states


def _outcome(job: Job, made: list[dict]) -> str:
    """Of the attempts that this session saw end."""
    succeeded = bool(made) and made[-1]["status"] == 0
    return FINISHED if succeeded and (job.is_finished() or not job.files) else FAILED


def _is_hopeless(job: Job, states: States) -> bool:
    return not job.whatever_comes and any(states[name] in (FAILED, SKIPPED) for name in job.after)


def _hand_over(job: Job, states: States, engine: Engine, folder: Path) -> None:
    if _is_hopeless(job, states):
        states[job.name] = SKIPPED
        return
    before = [states[name] for name in job.after]
    ready = all(state in SETTLED for state in before)
    passed_on = engine.queues and all(state in (*SETTLED, SUBMITTED) for state in before)
    if engine.has_room() and (ready or passed_on):
        engine.submit(job, folder, [name for name in job.after if states[name] == SUBMITTED])
        states[job.name] = SUBMITTED
