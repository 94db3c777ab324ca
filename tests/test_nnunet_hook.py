"""nnU-Net finds our classes by name, in this process, in spawned ones, and stays itself for every other name."""

import os
import pickle
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from types import ModuleType, SimpleNamespace

import nnunetv2
import pytest
from nnunetv2.imageio.reader_writer_registry import recursive_find_reader_writer_by_name
from nnunetv2.preprocessing.resampling.utils import recursive_find_resampling_fn_by_name
from nnunetv2.utilities.find_class_by_name import recursive_find_python_class
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name
from nnunetv2.utilities.label_handling.label_handling import get_labelmanager_class_from_plans
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager

from msam_nn import nnunet_hook
from msam_nn.errors import UserError
from msam_nn.nnunet_lookup import extended
from msam_nn.registry import LOOKUPS, NORMALIZATIONS, PLANNERS, PREPROCESSORS, TRAINERS, load
from msam_nn.trainers import budgets

CALLERS = [
    "nnunetv2.experiment_planning.plan_and_preprocess_api",
    "nnunetv2.imageio.reader_writer_registry",
    "nnunetv2.preprocessing.preprocessors.default_preprocessor",
    "nnunetv2.preprocessing.resampling.utils",
    "nnunetv2.utilities.find_objects",
    "nnunetv2.utilities.get_network_from_plans",
    "nnunetv2.utilities.label_handling.label_handling",
    "nnunetv2.utilities.plans_handling.plans_handler",
]
"""Every module of nnU-Net that imports the look-up by name."""

NAMES = [(place, name) for place, lookup in LOOKUPS.items() for name in lookup.classes]


def find(place: str, name: str):
    folder = os.path.join(nnunetv2.__path__[0], *place.split("/"))
    return recursive_find_python_class(folder, name, f"nnunetv2.{place.replace('/', '.')}")


def python(code: str, **environment: str) -> subprocess.CompletedProcess:
    """Run ``code`` in a new interpreter, away from the checkout."""
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        cwd=os.path.dirname(sys.executable),
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


# --- our names ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("place", "name"), NAMES, ids=[name for _, name in NAMES])
def test_registered_name_resolves_to_a_class_that_pickles(place, name):
    found = find(place, name)
    assert found is load(LOOKUPS[place].classes[name])
    assert found.__name__ == name
    assert pickle.loads(pickle.dumps(found)) is found


@pytest.mark.parametrize("module", CALLERS)
def test_every_caller_in_nnunet_holds_the_extended_function(module):
    code = f"import {module} as m; print(m.recursive_find_python_class.__wrapped__.__name__)"
    result = python(code)
    assert result.stdout.splitlines()[-1:] == ["recursive_find_python_class"], result.stderr


def test_no_further_module_of_nnunet_imports_the_function():
    importing = "from nnunetv2.utilities.find_class_by_name import"
    root = Path(nnunetv2.__path__[0])
    files = [file for file in root.rglob("*.py") if importing in file.read_text(encoding="utf-8")]
    modules = [".".join(["nnunetv2", *file.relative_to(root).with_suffix("").parts]) for file in files]
    assert sorted(module for module in modules if ".tests." not in module) == CALLERS


@pytest.mark.parametrize("name", TRAINERS)
def test_trainer_command_finds_it(name):
    assert recursive_find_trainer_class_by_name(name).__name__ == name


@pytest.mark.parametrize("name", ["MSAMTrainer_7minutes", "nnUNetTrainer_7epochs", "nnUNetTrainerNoDA_7cpuminutes"])
def test_trainer_command_finds_budgets(name):
    assert recursive_find_trainer_class_by_name(name) is getattr(budgets, name)


@pytest.mark.parametrize("name", PLANNERS)
def test_plans_name_their_planner(name, monkeypatch):
    plans = PlansManager({"experiment_planner_used": name})
    assert plans.experiment_planner_class is load(PLANNERS[name])


@pytest.mark.parametrize("name", PREPROCESSORS)
def test_plans_name_their_preprocessor(name):
    configuration = ConfigurationManager({"architecture": {}, "preprocessor_name": name})
    assert configuration.preprocessor_class is load(PREPROCESSORS[name])


@pytest.mark.parametrize("name", PLANNERS)
def test_planning_command_finds_it(name, monkeypatch):
    from nnunetv2.experiment_planning import plan_and_preprocess_api as api

    used = []

    def record(dataset_id, planner, *args):
        used.append(planner)
        return None, "plans"

    monkeypatch.setattr(api, "plan_experiment_dataset", record)
    api.plan_experiments([1], name)
    assert used == [load(PLANNERS[name])]


@pytest.mark.parametrize("name", NORMALIZATIONS)
def test_preprocessor_normalizes_with_it(name, monkeypatch):
    import numpy as np
    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor

    scheme = load(NORMALIZATIONS[name])
    monkeypatch.setattr(scheme, "run", lambda self, image, seg: image + 1)
    configuration = SimpleNamespace(normalization_schemes=[name], use_mask_for_norm=[False])
    data = DefaultPreprocessor(verbose=False)._normalize(np.zeros((1, 2, 2, 2)), np.zeros((1, 2, 2, 2)), configuration,
                                                         {"0": {}})  # fmt: skip
    assert (data == 1).all()


def test_spawned_workers_find_them_and_hand_them_back():
    folder = os.path.join(nnunetv2.__path__[0], "experiment_planning")
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        planner = pool.submit(
            recursive_find_python_class, folder, "MSAMPlanner", "nnunetv2.experiment_planning"
        ).result()
        trainer = pool.submit(recursive_find_trainer_class_by_name, "MSAMTrainer").result()
    assert planner is load(PLANNERS["MSAMPlanner"])
    assert trainer is load(TRAINERS["MSAMTrainer"])


# --- nnU-Net's own names --------------------------------------------------------------------------------------------


def test_stock_names_resolve_as_before():
    from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    assert recursive_find_trainer_class_by_name("nnUNetTrainer") is nnUNetTrainer
    assert find("experiment_planning", "ExperimentPlanner") is ExperimentPlanner
    configuration = ConfigurationManager({"architecture": {}, "preprocessor_name": "DefaultPreprocessor"})
    assert configuration.preprocessor_class is DefaultPreprocessor
    assert find("preprocessing/normalization", "ZScoreNormalization").__name__ == "ZScoreNormalization"
    assert recursive_find_reader_writer_by_name("SimpleITKIO").__name__ == "SimpleITKIO"
    assert callable(recursive_find_resampling_fn_by_name("resample_data_or_seg_to_shape"))
    assert get_labelmanager_class_from_plans({"label_manager": "LabelManager"}).__name__ == "LabelManager"


def test_look_up_outside_nnunet_is_untouched(tmp_path, monkeypatch):
    monkeypatch.delenv("nnUNet_extTrainer", raising=False)
    (tmp_path / "networks_of_others.py").write_text("class MSAMTrainer: pass\n")
    assert recursive_find_python_class(str(tmp_path), "MSAMTrainer", None) is not load(TRAINERS["MSAMTrainer"])
    assert recursive_find_python_class(str(tmp_path), "MSAMPlanner", None) is None


def test_an_import_that_fails_on_the_way_hides_no_class():
    def search(folder, class_name, current_module):
        raise ImportError("a module before the wanted one")

    find = extended(search)
    folder = os.path.join(nnunetv2.__path__[0], "training", "nnUNetTrainer")
    assert find(folder, "nnUNetTrainer_5epochs", "nnunetv2.training.nnUNetTrainer").__name__ == "nnUNetTrainer_5epochs"
    with pytest.raises(UserError, match="has a trainer named NoSuchThing"):
        find(folder, "NoSuchThing", "nnunetv2.training.nnUNetTrainer")


# --- mistakes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "name", "near"),
    [
        ("experiment_planning", "MSAMPlaner", "MSAMPlanner"),
        ("experiment_planning", "ExperimentPlaner", "ExperimentPlanner"),
        ("training/nnUNetTrainer", "msamtrainer", "MSAMTrainer"),
        ("training/nnUNetTrainer", "nnUNetTrainer_6epoch", "nnUNetTrainer_6epochs"),
        ("training/nnUNetTrainer", "MSAMTrainr_5mintues", "MSAMTrainer_5minutes"),
        ("training/nnUNetTrainer", "MSAMTrainer_0epochs", "MSAMTrainer_1epoch"),
    ],
)
def test_unknown_name_suggests_a_near_one(place, name, near, monkeypatch):
    monkeypatch.delenv("nnUNet_extTrainer", raising=False)
    with pytest.raises(RuntimeError, match=f"named {name}; did you mean {near}[?]"):
        find(place, name)


def test_unknown_name_that_resembles_none_points_at_the_doctor():
    with pytest.raises(UserError, match="msam doctor"):
        find("experiment_planning", "qqqq")


@pytest.mark.parametrize(
    ("place", "name", "message"),
    [
        ("experiment_planning", "MSAMTrainer", "MSAMTrainer is a trainer.* as an experiment planner"),
        ("preprocessing", "SAMMed3DNormalization", "is a normalization scheme.* as a preprocessor"),
        ("training/nnUNetTrainer", "MSAMPlanner", "MSAMPlanner is an experiment planner.* as a trainer"),
        ("imageio", "MSAMPlanner", "MSAMPlanner is an experiment planner.* as something in nnunetv2/imageio"),
    ],
)
def test_wrong_look_up_is_refused(place, name, message):
    with pytest.raises(UserError, match=message):
        find(place, name)


def test_command_ends_with_one_sentence_and_no_traceback():
    code = (
        "from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name as find\nfind('MSAMPlanner')"
    )
    result = python(code)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith("MSAMPlanner is an experiment planner")
    assert "Traceback" not in result.stderr


# --- nnUNet_extTrainer ----------------------------------------------------------------------------------------------


def test_external_folder_is_searched_after_ours(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text("from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer\n"
                                      "class MyTrainer(nnUNetTrainer): pass\nclass MSAMTrainer: pass\n")  # fmt: skip
    monkeypatch.setenv("nnUNet_extTrainer", str(tmp_path))
    assert recursive_find_trainer_class_by_name("MyTrainer").__name__ == "MyTrainer"
    assert recursive_find_trainer_class_by_name("MSAMTrainer") is load(TRAINERS["MSAMTrainer"])
    with pytest.raises(UserError, match="nnUNet_extTrainer nor msam_nn.* did you mean MSAMTrainer"):
        recursive_find_trainer_class_by_name("MSAMTrainr")


def test_fallback_folder_hands_on_our_trainers():
    import msam_nn

    folder = os.path.join(msam_nn.__path__[0], "ext_trainer")
    found = recursive_find_python_class(folder, "MSAMTrainer", None, base_folder=folder,
                                        cleanup_imports_from_base_folder=True)  # fmt: skip
    assert found is load(TRAINERS["MSAMTrainer"])
    assert pickle.loads(pickle.dumps(found)) is found


# --- switching on and off -------------------------------------------------------------------------------------------


def test_interpreter_start_activates_the_hook_and_imports_nothing_else_of_ours():
    code = "import sys; print(sorted(name for name in sys.modules if name.startswith(('msam_nn', 'nnunetv2'))))"
    assert python(code).stdout.strip() == "['msam_nn', 'msam_nn.nnunet_hook']"


def test_disable_variable_leaves_nnunet_alone():
    code = (
        "from nnunetv2.utilities.find_class_by_name import recursive_find_python_class as find\n"
        "print(hasattr(find, '__wrapped__'))"
    )
    assert python(code, MSAM_NN_DISABLE_HOOK="1").stdout.split()[-1] == "False"
    assert python(code, MSAM_NN_DISABLE_HOOK="0").stdout.split()[-1] == "True"


def test_late_activation_reaches_names_imported_before():
    code = (
        "import os, sys\n"
        "import nnunetv2.utilities.find_objects as early\n"
        "before = hasattr(early.recursive_find_python_class, '__wrapped__')\n"
        "del os.environ['MSAM_NN_DISABLE_HOOK']\n"
        "from msam_nn import nnunet_hook\n"
        "nnunet_hook.activate(); nnunet_hook.activate()\n"
        "import nnunetv2.utilities.find_class_by_name as module\n"
        "assert early.recursive_find_python_class is module.recursive_find_python_class\n"
        "print(before, hasattr(module.recursive_find_python_class.__wrapped__, '__wrapped__'), "
        "sys.meta_path.count(nnunet_hook.LookupFinder))"
    )
    result = python(code, MSAM_NN_DISABLE_HOOK="1")
    assert result.stdout.split()[-3:] == ["False", "False", "1"], result.stderr


# --- another nnU-Net ------------------------------------------------------------------------------------------------


def test_changed_signature_keeps_stock_names_and_refuses_ours():
    find = extended(lambda name, *, within: f"{name} in {within}")
    assert find("ExperimentPlanner", within="planning") == "ExperimentPlanner in planning"
    with pytest.raises(UserError, match='install "nnunetv2>=2.8.1,<2.9"'):
        find("MSAMPlanner", within="planning")


def test_missing_function_warns_once_and_readably():
    with pytest.warns(UserWarning, match='install "nnunetv2>=2.8.1,<2.9"'):
        nnunet_hook.extend(ModuleType("find_class_by_name"))
