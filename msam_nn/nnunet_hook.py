"""Puts msam_nn's names into nnU-Net's look-ups, without a change to nnU-Net and without environment variables.

``msam_nn.pth`` calls :func:`activate` at every interpreter start, in spawned workers too. Therefore this module imports
nothing but what Python has loaded by then; the rest waits until nnU-Net's look-up module is imported.
"""

import os
import sys

DISABLE_VARIABLE = "MSAM_NN_DISABLE_HOOK"
LOOKUP_MODULE = "nnunetv2.utilities.find_class_by_name"
LOOKUP_FUNCTION = "recursive_find_python_class"


class LookupFinder:
    """Meta path finder that leaves three modules of nnU-Net's to the other finders and extends each once it has run."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name not in EXTENSIONS:
            return None
        specs = (finder.find_spec(name, path, target) for finder in sys.meta_path if finder is not LookupFinder)
        spec = next(filter(None, specs), None)
        if spec is None:
            return None
        execute = spec.loader.exec_module

        def execute_and_extend(module):
            execute(module)
            EXTENSIONS[name](module)

        spec.loader.exec_module = execute_and_extend
        return spec


def activate() -> None:
    """Extend nnU-Net's look-up, at once where it is loaded already, otherwise when it is imported.

    ``MSAM_NN_DISABLE_HOOK=1`` in the environment turns this into a no-op.
    """
    if is_disabled() or is_active():
        return
    sys.meta_path.insert(0, LookupFinder)
    for name in EXTENSIONS:
        if name in sys.modules:
            EXTENSIONS[name](sys.modules[name])


def is_disabled() -> bool:
    """Whether the environment asks for no hook."""
    return os.environ.get(DISABLE_VARIABLE, "0") not in ("", "0")


def is_active() -> bool:
    """Whether :func:`activate` ran in this process."""
    return LookupFinder in sys.meta_path


def extend(module) -> None:
    """Replace the look-up function in ``module`` and wherever it was imported to by name."""
    from msam_nn.nnunet_lookup import extended

    original = getattr(module, LOOKUP_FUNCTION, None)
    replacement = extended(original)
    for holder in list(sys.modules.values()):
        if original is not None and getattr(holder, "__dict__", {}).get(LOOKUP_FUNCTION) is original:
            setattr(holder, LOOKUP_FUNCTION, replacement)


def _guard(function: str):
    """One of :mod:`msam_nn.nnunet_guards`, imported when it is needed."""

    def guard(module):
        from msam_nn import nnunet_guards

        getattr(nnunet_guards, function)(module)

    return guard


EXTENSIONS = {
    LOOKUP_MODULE: extend,
    "nnunetv2.run.run_training": _guard("guard_training"),
    "nnunetv2.inference.predict_from_raw_data": _guard("guard_prediction"),
}
"""What is done to a module of nnU-Net's when it has been imported."""
