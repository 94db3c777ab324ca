"""All trainers of msam_nn under one roof, for ``nnUNet_extTrainer``.

Needed only where the hook cannot run (``MSAM_NN_DISABLE_HOOK=1``, ``pip install --target``, ``python -S``)::

    export nnUNet_extTrainer=$(python -c "import msam_nn; print(msam_nn.__path__[0])")/ext_trainer

nnU-Net imports this file anew at each look-up, so classes defined here could not be pickled; it only hands on those of
:mod:`msam_nn.trainers`. Planners and normalization schemes have no such way: they need the hook.
"""

from msam_nn.registry import TRAINERS, budgeted, is_budgeted, load


def __getattr__(name: str) -> type:
    if name not in TRAINERS and not is_budgeted(name):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return load(TRAINERS.get(name, budgeted(name)))
