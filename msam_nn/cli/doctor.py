"""``msam doctor``: what is installed, what nnU-Net finds, and the sentence that mends what is missing."""

import argparse
import contextlib
import io
import os
import shlex
import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import NamedTuple

from msam_nn import __version__, nnunet_hook
from msam_nn.errors import first_line
from msam_nn.registry import LOOKUPS, TRAINER_FOLDER, load

CPU_RECIPE = (
    "a CPU build is smaller by gigabytes: pip install torch torchvision --index-url "
    "https://download.pytorch.org/whl/cpu, then hold both with pip install -c as in the README"
)


class Check(NamedTuple):
    """One line of the report.

    Arguments:
        name: what was looked at.
        finding: what was found.
        mend: what the user should do; empty where nothing is missing.
    """

    name: str
    finding: str
    mend: str = ""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Register ``msam doctor``."""
    subparsers.add_parser(
        "doctor",
        help="check the installation and say what is missing",
        description="Checks the installation; exit status 1 if something a user needs is missing.",
    )


def run(args: argparse.Namespace) -> int:
    """Print the report; 1 if anything needs mending, else 0."""
    sections = {
        "Packages": list(check_packages()),
        "Hook": [check_hook()],
        **{f"nnU-Net looks for {LOOKUPS[place].what}": list(check_lookup(place)) for place in LOOKUPS},
        "Device": [check_device(), check_torchvision()],
        "Folders": list(check_folders()),
    }
    width = max(len(check.name) for checks in sections.values() for check in checks)
    for title, checks in sections.items():
        print(f"\n{title}")
        for check in checks:
            print(f"  {'!!' if check.mend else 'ok'}  {check.name:<{width}}  {check.finding}")
    mends = list(dict.fromkeys(check.mend for checks in sections.values() for check in checks if check.mend))
    print("\nNothing is missing." if not mends else "\nTo mend:")
    for mend in mends:
        print(f"  - {mend}")
    return 1 if mends else 0


def check_packages() -> Iterator[Check]:
    """Python, msam_nn and every package that msam_nn's own metadata asks for."""
    from packaging.requirements import Requirement

    yield Check("python", f"{sys.version.split()[0]}  {sys.executable}")
    yield Check("msam_nn", f"{__version__}  {Path(nnunet_hook.__file__).parent}")
    try:
        requirements = [Requirement(line) for line in requires("msam_nn") or []]
    except PackageNotFoundError:
        yield Check("msam_nn metadata", "importable, but not installed", "Install msam_nn: pip install .")
        return
    for requirement in requirements:
        if requirement.marker is not None and not requirement.marker.evaluate():
            continue
        try:
            found = version(requirement.name)
        except PackageNotFoundError:
            found = None
        fits = found is not None and requirement.specifier.contains(found, prereleases=True)
        finding = f"{found or 'not installed'}{'' if fits else f'  (needs {requirement.specifier})'}"
        yield Check(requirement.name, finding, "" if fits else f'Install what is missing: pip install "{requirement}"')


def check_hook() -> Check:
    """Whether this interpreter started with the hook."""
    if nnunet_hook.is_active():
        return Check("msam_nn.pth", "active: nnU-Net finds msam_nn's names")
    if nnunet_hook.is_disabled():
        return Check("msam_nn.pth", f"switched off by {nnunet_hook.DISABLE_VARIABLE}")
    return Check("msam_nn.pth", "not active", "Install msam_nn anew, so that msam_nn.pth lies in site-packages.")


def check_lookup(place: str) -> Iterator[Check]:
    """Ask nnU-Net for each of our names, as its commands do."""
    way = "hook" if nnunet_hook.is_active() else "nnUNet_extTrainer"
    mend = f"Unset {nnunet_hook.DISABLE_VARIABLE}" if nnunet_hook.is_disabled() else "Install msam_nn anew"
    for name, target in LOOKUPS[place].classes.items():
        try:
            found = _ask_nnunet(place, name)
            ours = load(target)
            problem = "" if found is ours else f"nnU-Net finds {found or 'nothing'}"
        except Exception as error:
            problem = first_line(error)
        if problem:
            yield Check(name, f"not at all ({problem})", f"{mend}, so that nnU-Net finds msam_nn's names.")
        else:
            yield Check(name, f"{target.split(':')[0]}, by {way}")


def _ask_nnunet(place: str, name: str) -> type | None:
    import nnunetv2
    from nnunetv2.utilities.find_class_by_name import recursive_find_python_class
    from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

    with contextlib.redirect_stdout(io.StringIO()):
        if place == TRAINER_FOLDER:
            return recursive_find_trainer_class_by_name(name)
        folder = os.path.join(nnunetv2.__path__[0], *place.split("/"))
        return recursive_find_python_class(folder, name, f"nnunetv2.{place.replace('/', '.')}")


def check_device() -> Check:
    """The device torch would train on."""
    try:
        import torch
    except Exception as error:
        return Check("torch", f"cannot be imported ({first_line(error)})", "Install a torch that fits this machine.")
    if not torch.cuda.is_available():
        build = f"torch {torch.__version__}"
        kind = f"{build} is a CUDA build; {CPU_RECIPE}" if torch.version.cuda else f"{build} is a CPU build"
        return Check("GPU", f"none seen by torch: training needs -device cpu, and patience. {kind}")
    device = torch.cuda.get_device_properties(0)
    return Check("GPU", f"{device.name}, {device.total_memory / 2**30:.0f} GiB, {torch.cuda.device_count()} in all")


def check_torchvision() -> Check:
    """Never a fault: msam_nn does not use torchvision, some of nnU-Net's own trainers do."""
    try:
        return Check("torchvision", f"{import_module('torchvision').__version__} (msam_nn does not need it)")
    except Exception as error:
        return Check("torchvision", f"cannot be imported ({first_line(error)}); with the hook nobody needs it")


def check_folders() -> Iterator[Check]:
    """nnU-Net's three folders: set, there, and writable where nnU-Net writes."""
    for variable, writes in (("nnUNet_raw", False), ("nnUNet_preprocessed", True), ("nnUNet_results", True)):
        folder = os.environ.get(variable)
        if not folder:
            yield Check(variable, "not set", f"Tell nnU-Net where its data lie: export {variable}=/your/{variable}")
        elif not os.path.isdir(folder):
            yield Check(variable, f"{folder} does not exist", f"Create the folder: mkdir -p {shlex.quote(folder)}")
        elif not os.access(folder, os.W_OK if writes else os.R_OK):
            right = "write to" if writes else "read"
            yield Check(variable, f"{folder}: you may not {right} it", f"Let your user {right} {folder}.")
        else:
            yield Check(variable, folder)
