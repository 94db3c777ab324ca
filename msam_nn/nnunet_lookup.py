"""nnU-Net's search for a class by name, with msam_nn's registry in front of it and a helpful sentence behind it."""

import os
import re
import sys
import warnings
from collections.abc import Callable
from difflib import get_close_matches
from functools import wraps
from importlib import import_module
from inspect import signature
from pathlib import Path

from msam_nn.errors import UserError
from msam_nn.registry import LOOKUPS, TRAINER_FOLDER, budgeted, is_budgeted, load
from msam_nn.trainer_names import nearest, parse

EXPECTED_PARAMETERS = ["folder", "class_name", "current_module"]
INCOMPATIBLE = (
    "This version of nnU-Net looks classes up in a way that msam_nn does not know: "
    'install "nnunetv2>=2.8.1,<2.9", or set MSAM_NN_DISABLE_HOOK=1 and point nnUNet_extTrainer at msam_nn/ext_trainer.'
)


def extended(search: Callable | None) -> Callable | None:
    """Wrap nnU-Net's ``recursive_find_python_class``.

    The wrapper returns our class for a registered name, and whatever ``search`` finds for any other. It raises
    :class:`UserError` where a registered name is asked for in the wrong look-up, and where nobody has the name. A
    ``search`` with other parameters than we know keeps working for nnU-Net's names and raises for ours.
    """
    if search is None:
        warnings.warn(INCOMPATIBLE, stacklevel=2)
        return None
    if list(signature(search).parameters)[: len(EXPECTED_PARAMETERS)] != EXPECTED_PARAMETERS:
        return _refusing_ours(search)

    @wraps(search)
    def find(folder, class_name, current_module, *args, **kwargs):
        here = _folder_in_nnunet(folder)
        if here is None:
            found = search(folder, class_name, current_module, *args, **kwargs)
            if found is None and folder == _last_external_folder():
                raise UserError(_unknown(class_name, TRAINER_FOLDER, searched_external=True))
            return found
        owner = next((place for place, lookup in LOOKUPS.items() if class_name in lookup.classes), None)
        if owner == here:
            return load(LOOKUPS[here].classes[class_name])
        if here == TRAINER_FOLDER and _has_budget(class_name, folder):
            return load(budgeted(class_name))
        if owner is not None:
            asked = LOOKUPS[here].what if here in LOOKUPS else f"something in nnunetv2/{here}"
            raise UserError(f"{class_name} is {LOOKUPS[owner].what}, but nnU-Net was asked to use it as {asked}.")
        if here not in LOOKUPS:
            return search(folder, class_name, current_module, *args, **kwargs)
        try:
            found = search(folder, class_name, current_module, *args, **kwargs)
        except Exception:
            # The search imports every module it passes, so one that cannot be imported hides all classes behind it.
            found = _import_definition(folder, class_name, current_module)
        if found is None and not (here == TRAINER_FOLDER and _last_external_folder()):
            raise UserError(_unknown(class_name, here))
        return found

    return find


def _has_budget(name: str, folder: str) -> bool:
    """Whether ``name`` is a trainer of ours or of nnU-Net's with a budget, and no name that nnU-Net itself defines."""
    budget = parse(name)
    if budget is None or is_budgeted(name):
        return budget is not None
    definitions = _definitions(folder)
    return budget.base in definitions and name not in definitions


def _refusing_ours(search: Callable) -> Callable:
    ours = {name for lookup in LOOKUPS.values() for name in lookup.classes}

    @wraps(search)
    def find(*args, **kwargs):
        names = [value for value in (*args, *kwargs.values()) if isinstance(value, str)]
        if any(name in ours or is_budgeted(name) for name in names):
            raise UserError(INCOMPATIBLE)
        return search(*args, **kwargs)

    return find


def _folder_in_nnunet(folder: str) -> str | None:
    """``folder`` relative to the nnU-Net package, with forward slashes; None outside of it."""
    folder = os.path.normpath(folder)
    for root in sys.modules["nnunetv2"].__path__:
        prefix = os.path.join(os.path.normpath(root), "")
        if folder.startswith(prefix):
            return folder[len(prefix) :].replace(os.sep, "/")
    return None


def _last_external_folder() -> str | None:
    """The folder of ``nnUNet_extTrainer`` that nnU-Net searches last, None where it searches none."""
    folders = os.environ.get("nnUNet_extTrainer", "").split(os.pathsep)
    return next((folder for folder in reversed(folders) if folder.strip() and os.path.exists(folder)), None)


def _definitions(folder: str) -> dict[str, Path]:
    """Class name to the file that defines it, for every file below ``folder``, read as text and not imported."""
    return {
        name: file
        for file in sorted(Path(folder).rglob("*.py"), reverse=True)
        for name in re.findall(r"^class (\w+)", file.read_text(encoding="utf-8"), re.MULTILINE)
    }


def _import_definition(folder: str, class_name: str, package: str) -> type | None:
    """Import nothing but the module below ``folder`` that defines ``class_name``; None where there is none."""
    file = _definitions(folder).get(class_name)
    if file is None:
        return None
    module = ".".join([package, *file.relative_to(folder).with_suffix("").parts])
    return getattr(import_module(module), class_name)


def _unknown(class_name: str, place: str, searched_external: bool = False) -> str:
    """The sentence for a name that nobody has, with the nearest one that exists."""
    what, ours = LOOKUPS[place]
    root = sys.modules["nnunetv2"].__path__[0]
    known = {name.lower(): name for name in (*_definitions(os.path.join(root, place)), *ours)}
    hint = "msam doctor lists the names of msam_nn."
    meant = nearest(class_name) if place == TRAINER_FOLDER else None
    near = get_close_matches((meant.base if meant else class_name).lower(), known, n=1)
    if near:
        hint = f"did you mean {meant._replace(base=known[near[0]]) if meant else known[near[0]]}?"
    nobody = "Neither nnU-Net, nnUNet_extTrainer nor msam_nn" if searched_external else "Neither nnU-Net nor msam_nn"
    return f"{nobody} has {what} named {class_name}; {hint}"
