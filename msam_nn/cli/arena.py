"""``msam arena``: trainers, data sets, folds and seeds as one resumable grid."""

from __future__ import annotations

import argparse
import shlex
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from msam_nn.errors import UserError

if TYPE_CHECKING:
    from msam_nn.arena.grid import Grid

ACTIONS = ("init", "status", "report")


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Register ``msam arena``."""
    parser = subparsers.add_parser(
        "arena",
        help="train and compare a grid of methods on several data sets, folds and seeds",
        description="Turn a grid into nnU-Net's and msam's own commands (plan, train, clicks, transfer, report), run "
        "them on this machine, SLURM or Ray, and report on all of them. What nnU-Net's files show to be finished is "
        "not repeated. Status 1 if jobs failed.",
        epilog="msam arena init writes grid.yaml with comments; msam arena status grid.yaml tells how far it is; msam "
        "arena report grid.yaml -o report compares what is finished.",
    )
    parser.add_argument("words", nargs="+", metavar="[init|status|report] GRID.yaml")
    parser.add_argument("--on", choices=("local", "slurm", "ray"), default="local", help="default: %(default)s")
    parser.add_argument("--resume", action="store_true", help="go on with a grid that was started before")
    parser.add_argument("--dry-run", action="store_true", help="print every command that is still to run, and no more")
    parser.add_argument("-o", dest="output", type=Path, help="report: the new folder (default: report, in the arena's)")
    parser.add_argument("--force", action="store_true", help="report, init: replace what is there")


def run(args: argparse.Namespace) -> int:
    """Dispatch to an action or run the grid."""
    action = args.words[0] if args.words[0] in ACTIONS else "run"
    files = args.words[1:] if action != "run" else args.words
    if len(files) > 1 or not (files or action == "init"):
        raise UserError(f"Name one grid: msam arena {'' if action == 'run' else action + ' '}grid.yaml.")
    file = Path(files[0]) if files else Path("grid.yaml")
    if action == "init":
        return init(file, args.force)
    insist_on("yaml")
    from msam_nn.arena.grid_file import read_grid

    grid = read_grid(file)
    if action == "report":
        return report(grid, args)
    return status(grid, args.on) if action == "status" else start(grid, args)


def insist_on(*modules: str) -> None:
    """Raises UserError for one that is not installed."""
    for module in modules:
        if find_spec(module) is None:
            raise UserError(f'It needs {module}: pip install "msam_nn[arena]".')


def init(file: Path, force: bool) -> int:
    """Write the commented grid."""
    from msam_nn.arena.template import TEMPLATE
    from msam_nn.folders import new_file

    if file.exists() and not force:
        raise UserError(f"{file} exists already: choose another name, or add --force to replace it.")
    with new_file(file) as partial:
        partial.write_text(TEMPLATE, encoding="utf-8")
    print(f"Written: {file}. Edit it, then: msam arena {shlex.quote(str(file))} --dry-run")
    return 0


def start(grid: Grid, args: argparse.Namespace) -> int:
    """Run the grid, or show what would run; 1 if a job failed."""
    from msam_nn.arena.engines import cores_of_a_job, job_environment, make_engine
    from msam_nn.arena.jobs import insist_on_plans_of_trainings, jobs_of, still_needed

    cores = cores_of_a_job(grid, args.on)
    jobs = jobs_of(grid, cores)
    insist_on_plans_of_trainings(jobs)
    needed = still_needed(jobs)
    if args.dry_run:
        for name, value in job_environment(grid, cores).items():
            print(f"export {name}={shlex.quote(value)}")
        for job in jobs:
            if job.name in needed:
                print(job.shell_line())
        return 0
    insist_on("rich", "submitit")
    from rich.console import Console

    from msam_nn.arena.display import Watch, print_failures
    from msam_nn.arena.schedule import FINISHED, run_jobs

    if (grid.folder / "jobs").is_dir() and not args.resume:
        raise UserError(f"{grid.folder} shows that this grid was started before: add --resume to go on with it.")
    engine = make_engine(args.on, grid, cores)
    place, console = grid.job_folder, Console()
    print(f"{len(needed)} of {len(jobs)} jobs to do, {cores} core{'s' if cores > 1 else ''} each; logs: {grid.folder}")
    try:
        with Watch(jobs, place, console) as watch:
            states = run_jobs(jobs, place, engine, watch)
    except KeyboardInterrupt:
        raise UserError(f"Interrupted. {engine.interrupt()}; add --resume to go on.") from None
    print_failures(jobs, states, place, console)
    failed = sum(state != FINISHED for state in states.values())
    print(f"{len(jobs) - failed} of {len(jobs)} jobs finished; report: {grid.folder / 'report' / 'arena.html'}")
    return 1 if failed else 0


def status(grid: Grid, on: str) -> int:
    """Print how far the grid is; 1 if a job failed."""
    insist_on("rich")
    from rich.console import Console

    from msam_nn.arena.display import FAILED, KILLED, overview, print_failures, states_by_files
    from msam_nn.arena.engines import cores_of_a_job
    from msam_nn.arena.jobs import jobs_of, still_needed

    jobs = jobs_of(grid, cores_of_a_job(grid, on))
    place, console = grid.job_folder, Console()
    states = states_by_files(jobs, still_needed(jobs), place)
    console.print(overview(jobs, states, place))
    print_failures(jobs, states, place, console)
    return 1 if {FAILED, KILLED} & set(states.values()) else 0


def report(grid: Grid, args: argparse.Namespace) -> int:
    """Compare what is finished, write the folder, print Table 1."""
    from msam_nn.arena.report import write_report
    from msam_nn.arena.results import collect
    from msam_nn.folders import new_folder

    output = args.output or grid.folder / "report"
    with new_folder(output, force=args.force) as folder:
        results = collect(grid)
        table = write_report(folder, results)
    print(table.to_string(index=False))
    print(f"\nreport  {output / 'arena.html'}")
    return 0
