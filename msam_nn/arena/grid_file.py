"""``grid.yaml`` read, and checked as a whole before anything starts."""

from __future__ import annotations

import io
import json
import os
import shlex
from collections.abc import Callable
from contextlib import redirect_stdout
from difflib import get_close_matches
from inspect import signature
from itertools import permutations
from pathlib import Path

import nnunetv2
import yaml
from nnunetv2.utilities.find_class_by_name import recursive_find_python_class
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

from msam_nn.arena.grid import Grid, Method, Plans
from msam_nn.errors import UserError
from msam_nn.evaluation.results_folder import class_values
from msam_nn.evaluation.transfer import channel_order, match_classes
from msam_nn.nnunet_folders import dataset_name
from msam_nn.preprocessing.network_planner import NetworkPlanner
from msam_nn.trainer_names import parse
from msam_nn.trainers.promptable_trainer import PromptableTrainer

PLANNERS = {
    "nnUNetPlans": "ExperimentPlanner",
    "nnUNetResEncUNetMPlans": "nnUNetPlannerResEncM",
    "nnUNetResEncUNetLPlans": "nnUNetPlannerResEncL",
    "MSAMPlans": "MSAMPlanner",
    "MSAMPretrainedPlans": "MSAMPretrainedPlanner",
    "MaskSAMPlans": "MaskSAMPlanner",
    "MaskSAMTinyPlans": "MaskSAMPlannerTiny",
}
"""Plans -> the planner that writes them, where the grid does not say."""

BUDGETS = "such as 100epochs, 60minutes or 60cpuminutes"


class Fields:
    """A mapping of the file, taken apart entry by entry; what is wrong with it is a sentence in ``problems``."""

    def __init__(self, content: object, where: str, problems: list[str]) -> None:
        self.where, self.problems = where, problems
        self.is_mapping = isinstance(content, dict)
        if not self.is_mapping:
            problems.append(f"{where} has to be a mapping (key: value), not {content!r}.")
        self.content = dict(content) if self.is_mapping else {}
        self.asked: list[str] = []

    def take(self, key: str, kind: type | tuple[type, ...], default=None, what: str = "", required: bool = False):
        """The value under ``key``; ``default`` where there is none or one of another kind."""
        self.asked.append(key)
        value = self.content.get(key)
        if value is None:
            if required and self.is_mapping:
                self.problems.append(f"{self.where} lacks {key}, {what}.")
            return default
        kinds = kind if isinstance(kind, tuple) else (kind,)
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            self.problems.append(f"{self.where}: {key} has to be {what}, not {value!r}.")
            return default
        return value

    def number(self, key: str, default, what: str = "a whole number from 1 on", lowest: float = 1, kind=int):
        value = self.take(key, kind, default, what)
        if value is not None and value < lowest:
            self.problems.append(f"{self.where}: {key} has to be {what}, not {value}.")
            return default
        return value

    def several(self, key: str, kind, default: tuple, what: str, required: bool = False) -> tuple:
        """A list of one or more, each once; a single value counts as a list of one."""
        value = self.take(key, (list, *(kind if isinstance(kind, tuple) else (kind,))), None, what, required)
        if value is None:
            return default
        values = value if isinstance(value, list) else [value]
        kinds = kind if isinstance(kind, tuple) else (kind,)
        if not values or any(not isinstance(v, kinds) or isinstance(v, bool) for v in values):
            self.problems.append(f"{self.where}: {key} has to be {what}, not {value!r}.")
            return default
        if len(set(values)) < len(values):
            self.problems.append(f"{self.where}: {key} names something twice: {', '.join(map(str, values))}.")
        return tuple(dict.fromkeys(values))

    def finish(self) -> None:
        """Complain about entries that nobody asked for."""
        for key in map(str, self.content):
            if key not in self.asked:
                near = get_close_matches(key, self.asked, n=1)
                hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(self.asked)}."
                self.problems.append(f"{self.where} has no entry {key}; {hint}")


def read_grid(file: Path) -> Grid:
    """Raises:
    UserError: with a sentence for everything that is wrong.
    """
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"There is no grid {file}: msam arena init writes one.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{file} is no YAML: {' '.join(str(error).split())}") from error
    problems: list[str] = []
    grid = _read(file, content, problems)
    if problems:
        raise UserError("\n  ".join([f"{file} cannot be run:", *problems]) if len(problems) > 1 else problems[0])
    return grid


def _read(file: Path, content: object, problems: list[str]) -> Grid:
    fields = Fields(content, str(file), problems)
    names = fields.several("datasets", (int, str), (), "a list of data sets (IDs or names)", required=True)
    configuration = fields.take("configuration", str, "3d_fullres", "a configuration of the plans")
    folds = fields.several("folds", int, (0,), "a list of folds from 0 to 4")
    seeds = fields.several("seeds", int, (None,), "a list of whole numbers")
    budget = fields.take("budget", str, None, BUDGETS)
    if budget is not None and parse(f"Trainer_{budget}") is None:
        problems.append(f"{file}: {budget} is no budget, {BUDGETS}.")
        budget = None
    device = fields.take("device", str, "cuda", "cuda or cpu")
    written = fields.take("plans", dict, {}, "a mapping of plans to who writes them")
    described = fields.take("methods", dict, {}, "a mapping of names to trainers", required=True)
    clicks = fields.take("clicks", (bool, str), False, "yes, no, or options of msam clicks")
    transfer = fields.take("transfer", bool, False, "yes or no")
    environment = fields.take("environment", dict, {}, "a mapping of variables to values")
    numbers = {
        "jobs": fields.number("jobs", 1),
        "jobs_per_gpu": fields.number("jobs_per_gpu", 1),
        "cores_per_job": fields.number("cores_per_job", None),
        "tolerance": float(fields.number("tolerance", 1.0, "a distance in mm from 0 on", 0, (int, float))),
    }
    measure = fields.take("measure_prediction", bool, True, "yes or no")
    slurm = fields.take("slurm", dict, {}, "a mapping of options of submitit's SLURM executor")
    fields.finish()
    if device not in ("cuda", "cpu"):
        problems.append(f"{file}: device has to be cuda or cpu, not {device}.")
    if any(not 0 <= fold <= 4 for fold in folds):
        problems.append(f"{file}: folds go from 0 to 4, not {', '.join(map(str, folds))}.")
    if negative := [seed for seed in seeds if seed is not None and seed < 0]:
        problems.append(f"{file}: seeds go from 0 on, not {', '.join(map(str, negative))}.")
    datasets = tuple(_collect(problems, dataset_name, name) for name in names)
    if twice := sorted({str(name) for name in datasets if name and datasets.count(name) > 1}):
        problems.append(f"{file}: datasets names {', '.join(twice)} twice.")
    methods = tuple(_method(name, entry, budget, clicks, problems) for name, entry in described.items())
    _check_together(methods, problems)
    plans = {name: _plans(name, written.get(name, {}), problems) for name in dict.fromkeys(m.plans for m in methods)}
    if unused := sorted(set(map(str, written)) - set(plans)):
        problems.append(f"{file}: no method uses the plans {', '.join(unused)}.")
    transfers = transfers_between([name for name in datasets if name]) if transfer else ()
    if transfer and not transfers and not problems:
        problems.append(f"{file}: no two data sets have the same channels, classes and files to transfer between.")
    return Grid(
        file=file.absolute(),
        folder=file.absolute().with_name(f"{file.stem}_arena"),
        datasets=tuple(name for name in datasets if name),
        methods=methods,
        plans=plans,
        configuration=configuration,
        folds=folds,
        seeds=seeds,
        transfers=transfers,
        device=device,
        environment={str(name): _text(value) for name, value in environment.items()},
        slurm=slurm,
        measure_prediction=measure,
        **numbers,
    )


def _text(value: object) -> str:
    """A variable's value; YAML makes a boolean of ``yes``."""
    return str(int(value)) if isinstance(value, bool) else str(value)


def _collect(problems: list[str], function: Callable, *arguments):
    """What the function returns; None where it raises, with a sentence more among the problems."""
    try:
        with redirect_stdout(io.StringIO()):  # nnU-Net tells where it searches
            return function(*arguments)
    except RuntimeError as error:  # UserError, and nnU-Net's own
        problems.append(str(error))
        return None


def _words(problems: list[str], place: str, options: str) -> tuple[str, ...]:
    """Options as a shell would split them."""
    try:
        return tuple(shlex.split(options))
    except ValueError:
        problems.append(f"{place}: {options} ends within quotation marks.")
        return ()


def _method(name: object, entry: object, budget: str | None, clicks: bool | str, problems: list[str]) -> Method:
    fields = Fields(entry, f"Method {name}", problems)
    trainer = fields.take("trainer", str, "", "the name of a trainer", required=True)
    plans = fields.take("plans", str, "nnUNetPlans", "the name of plans")
    own_budget = fields.take("budget", str, budget, BUDGETS)
    own_clicks = fields.take("clicks", (bool, str), clicks, "yes, no, or options of msam clicks")
    variant_of = fields.take("variant_of", str, None, "the name of another method")
    note = fields.take("note", str, "", "a text")
    fields.finish()
    found = None
    if trainer:
        if own_budget is not None and parse(trainer) is None:
            trainer = f"{trainer}_{own_budget}"
            if parse(trainer) is None:
                problems.append(
                    f"Method {name}: {own_budget} is no budget: write 100epochs, 60minutes or 60cpuminutes."
                )
                trainer = ""
        found = _collect(problems, recursive_find_trainer_class_by_name, trainer) if trainer else None
    learns_clicks = found is not None and issubclass(found, PromptableTrainer)
    options = _words(problems, f"Method {name}", own_clicks) if isinstance(own_clicks, str) else ()
    if "-device" in options:
        problems.append(f"Method {name}: clicks takes no -device, which is the grid's.")
    clicked = options if own_clicks and (learns_clicks or "clicks" in fields.content) else None
    return Method(str(name), trainer, plans, clicked, variant_of, note)


def _check_together(methods: tuple[Method, ...], problems: list[str]) -> None:
    seen: dict[tuple[str, str], str] = {}
    names = {method.name for method in methods}
    for method in methods:
        model = (method.trainer, method.plans)
        if method.trainer and model in seen:
            problems.append(f"Methods {seen[model]} and {method.name} are the same: {' on '.join(model)}.")
        seen.setdefault(model, method.name)
        if method.variant_of is not None and method.variant_of not in names - {method.name}:
            problems.append(f"Method {method.name} is a variant of {method.variant_of}, which is no other method.")


def _plans(name: str, entry: object, problems: list[str]) -> Plans:
    fields = Fields(entry, f"Plans {name}", problems)
    known = PLANNERS.get(name)
    planner = fields.take("planner", str, known, "the name of a planner", required=known is None)
    options = fields.take("options", str, "", "options of nnUNetv2_plan_and_preprocess")
    fields.finish()
    if planner is None:
        return Plans()
    folder = os.path.join(nnunetv2.__path__[0], "experiment_planning")
    module = "nnunetv2.experiment_planning"
    found = _collect(problems, recursive_find_python_class, folder, planner, module)
    words = _words(problems, f"Plans {name}", options)
    return Plans(planner, words, found is not None and plans_name_of(found) != name)


def plans_name_of(planner: type) -> str:
    """What a planner calls its plans: ours say so, nnU-Net's have it as a default of their constructor."""
    if issubclass(planner, NetworkPlanner):
        return planner.default_plans_name
    return signature(planner.__init__).parameters["plans_name"].default


def transfers_between(datasets: list[str]) -> tuple[tuple[str, str], ...]:
    """Ordered pairs (source, target) of data sets whose files, channels and classes fit."""
    from nnunetv2.paths import nnUNet_raw

    described = {}
    for name in datasets:
        file = Path(nnUNet_raw, name, "dataset.json")
        if file.is_file():
            described[name] = json.loads(file.read_text(encoding="utf-8"))
    return tuple(pair for pair in permutations(described, 2) if _fits(*pair, *(described[name] for name in pair)))


def _fits(source: str, target: str, known: dict, asked: dict) -> bool:
    problems: list[str] = []
    _collect(problems, channel_order, known, asked, source, target)
    _collect(problems, match_classes, class_values(known), class_values(asked), source, target)
    return not problems and known["file_ending"] == asked["file_ending"]
