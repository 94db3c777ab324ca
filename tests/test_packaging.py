"""A regular and an editable install carry the hook and an uninstall takes it away."""

import shutil
import subprocess
import sys
import sysconfig
import venv
from importlib.metadata import distribution
from pathlib import Path

import pytest

import msam_nn

CHECKOUT = Path(__file__).parent.parent
START = "import sys; print('msam_nn.nnunet_hook' in sys.modules)"
LOOK_UP = """
import os, sys, types
package = sys.modules["nnunetv2"] = types.ModuleType("nnunetv2")
package.__path__ = [sys.argv[1]]
from nnunetv2.utilities.find_class_by_name import recursive_find_python_class as find
try:
    find(os.path.join(sys.argv[1], "experiment_planning"), "MSAMTrainer", "nnunetv2.experiment_planning")
except RuntimeError as error:
    print(error)
"""
"""Drives a stand-in for nnU-Net, so that the throwaway environment needs no torch."""


def run(python: Path, *arguments: str) -> str:
    return subprocess.run(
        [str(python), *arguments], cwd=python.parent, check=True, capture_output=True, encoding="utf-8"
    ).stdout.strip()


@pytest.fixture
def python(tmp_path) -> Path:
    """The interpreter of a new virtual environment with nothing in it."""
    venv.create(tmp_path / "venv", symlinks=sys.platform != "win32")
    scripts = "Scripts" if sys.platform == "win32" else "bin"
    return tmp_path / "venv" / scripts / Path(sys.executable).name


@pytest.fixture
def source(tmp_path) -> Path:
    """A copy of what an install needs: an editable install writes into its source."""
    copy = tmp_path / "source"
    for package in ("msam_nn", "dataset_conversion"):
        shutil.copytree(CHECKOUT / package, copy / package, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("setup.py", "pyproject.toml", "msam_nn.pth", "LICENSE", "NOTICE", "README.md", "MANIFEST.in"):
        if (CHECKOUT / file).exists():
            shutil.copy(CHECKOUT / file, copy / file)
    return copy


def pip(python: Path, *arguments: str) -> None:
    """Run this environment's pip on the one of ``python``; skip where the build cannot fetch setuptools."""
    command = [sys.executable, "-m", "pip", "--python", str(python), *arguments, "--quiet"]
    result = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    if "No matching distribution found for setuptools" in result.stdout + result.stderr:
        pytest.skip("needs a package index")
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("options", [[], ["--editable"]], ids=["regular", "editable"])
def test_install_brings_the_hook_and_uninstall_takes_it_away(python, source, tmp_path, options):
    pytest.importorskip("pip")
    utilities = tmp_path / "nnunetv2" / "utilities"
    utilities.mkdir(parents=True)
    (utilities / "find_class_by_name.py").write_text(
        "def recursive_find_python_class(folder, class_name, current_module): return None\n"
    )
    assert run(python, "-c", START) == "False"
    pip(python, "install", "--no-deps", *options, str(source))
    try:
        assert run(python, "-c", START) == "True"
        sentence = run(python, "-c", LOOK_UP, str(tmp_path / "nnunetv2"))
        assert sentence == "MSAMTrainer is a trainer, but nnU-Net was asked to use it as an experiment planner."
        run(python, "-c", "import dataset_conversion, msam_nn.ext_trainer.msam_trainers")
    finally:
        pip(python, "uninstall", "-y", "msam_nn")
    assert run(python, "-c", START) == "False"
    assert not list(python.parent.parent.rglob("*msam_nn*.pth"))


def test_pth_line_survives_a_package_that_is_half_gone(tmp_path):
    line = (CHECKOUT / "msam_nn.pth").read_text(encoding="utf-8")
    assert line.count("\n") == 1
    assert line.startswith("import ")
    (tmp_path / "msam_nn").mkdir()
    (tmp_path / "msam_nn" / "__init__.py").write_text("")
    (tmp_path / "msam_nn.pth").write_text(line)
    code = "import site, sys; site.addsitedir(sys.argv[1]); print('msam_nn.nnunet_hook' in sys.modules)"
    command = [sys.executable, "-S", "-c", code, str(tmp_path)]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, encoding="utf-8", check=True)
    assert result.stdout.strip() == "False"
    assert result.stderr == ""


def test_pth_lies_in_site_packages_of_this_installation():
    assert (Path(sysconfig.get_path("purelib")) / "msam_nn.pth").read_text(encoding="utf-8") == (
        CHECKOUT / "msam_nn.pth"
    ).read_text(encoding="utf-8")


def test_version_is_the_installed_one():
    assert distribution("msam_nn").version == msam_nn.__version__


def test_every_folder_with_modules_is_a_package():
    files = [file for package in ("msam_nn", "dataset_conversion") for file in (CHECKOUT / package).rglob("*.py")]
    assert files
    assert [file for file in files if not (file.parent / "__init__.py").exists()] == []
