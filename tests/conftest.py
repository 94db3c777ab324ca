"""What all tests share."""

import contextlib
import copy
import io
import json
import os

import pytest
import torch

PHANTOM = "Dataset900_TumourPhantom"


def pytest_configure():
    """Workers side by side share the cores, and so do the commands they start."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1))
    if workers > 1:
        threads = max(1, (os.cpu_count() or 1) // workers)
        os.environ.setdefault("OMP_NUM_THREADS", str(threads))
        torch.set_num_threads(threads)


def pytest_collection_modifyitems(items):
    """Skip the tests marked ``gpu`` where torch sees no CUDA device."""
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


def _shrink(plans_file):
    """Make the planned network small enough to train an epoch in seconds."""
    plans = json.loads(plans_file.read_text(encoding="utf-8"))
    configuration = plans["configurations"]["3d_fullres"]
    configuration.update(batch_size=2, patch_size=[16, 32, 32])
    configuration["architecture"]["arch_kwargs"].update(
        patch_size=[16, 32, 32], token_size=[8, 8, 8], embed_dim=96, depth=2, num_heads=3,
        decoder_dim=48, decoder_heads=2, decoder_mlp_dim=96, adapter_heads=3, n_auto_stages=2, pyramid=[4, 8, 16, 32],
    )  # fmt: skip
    plans_file.write_text(json.dumps(plans))


@pytest.fixture(scope="session")
def nnunet_folders(tmp_path_factory):
    """nnU-Net's three folders with a planned and preprocessed phantom data set of six small cases."""
    from nnunetv2.experiment_planning.plan_and_preprocess_api import extract_fingerprints, plan_experiments, preprocess

    from msam_nn.synthetic import PhantomOptions, write_dataset

    root = tmp_path_factory.mktemp("nnunet")
    folders = {name: root / name for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")}
    for folder in folders.values():
        folder.mkdir()
    variables = {**{k: str(v) for k, v in folders.items()}, "nnUNet_n_proc_DA": "0", "nnUNet_def_n_proc": "1"}
    before = {k: os.environ.get(k) for k in variables}
    os.environ.update(variables)
    options = PhantomOptions(min_shape=(14, 28, 28), max_shape=(16, 32, 32), organ_label=True)
    write_dataset(folders["nnUNet_raw"] / PHANTOM, 6, 1, options, progress=False)
    with contextlib.redirect_stdout(io.StringIO()):
        extract_fingerprints([900], num_processes=1, show_progress_bar=False)
        plan_experiments([900], "MSAMPlanner")
        _shrink(folders["nnUNet_preprocessed"] / PHANTOM / "MSAMPlans.json")
        preprocess([900], "MSAMPlans", ["3d_fullres"], num_processes=[1], show_progress_bar=False)
    yield folders
    for name, value in before.items():
        os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)


@pytest.fixture
def phantom_plans(nnunet_folders) -> tuple[dict, dict]:
    """Fresh copies of the phantom's M-SAM plans, as nnU-Net hands them to a trainer, and of its dataset.json."""
    folder = nnunet_folders["nnUNet_preprocessed"] / PHANTOM
    plans = json.loads((folder / "MSAMPlans.json").read_text(encoding="utf-8"))
    plans["continue_training"] = False
    return plans, json.loads((folder / "dataset.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def small_unets() -> dict[str, dict]:
    """Two U-Nets of nnU-Net's as plans describe them: ``plain`` and ``residual encoder``."""
    plain = {
        "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "arch_kwargs": {
            "n_stages": 3, "features_per_stage": [8, 16, 16], "conv_op": "torch.nn.modules.conv.Conv3d",
            "kernel_sizes": [[1, 3, 3], [3, 3, 3], [3, 3, 3]], "strides": [[1, 1, 1], [1, 2, 2], [2, 2, 2]],
            "n_conv_per_stage": [1, 1, 1], "n_conv_per_stage_decoder": [1, 1], "conv_bias": True,
            "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d", "norm_op_kwargs": {"eps": 1e-5, "affine": True},
            "dropout_op": None, "dropout_op_kwargs": None, "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }  # fmt: skip
    residual = copy.deepcopy(plain)
    residual["network_class_name"] = "dynamic_network_architectures.architectures.unet.ResidualEncoderUNet"
    residual["arch_kwargs"]["n_blocks_per_stage"] = residual["arch_kwargs"].pop("n_conv_per_stage")
    return {"plain": plain, "residual encoder": residual}
