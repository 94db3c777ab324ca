"""A planned data set with a small network of the released kind, and weight files that fit it."""

import json
import re
from argparse import Namespace
from zlib import crc32

import numpy as np
import pytest
import torch

from msam_nn.networks import MSAM, MSAMConfig
from msam_nn.networks.msam.builder import BUILDER

SMALL = dict(
    patch_size=(32, 32, 32),
    token_size=(8, 8, 8),
    window_size=3,
    global_blocks=(1,),
    embed_dim=24,
    depth=3,
    num_heads=2,
    decoder_dim=48,
    decoder_heads=2,
    decoder_mlp_dim=32,
    adapter_heads=2,
)
DATASET = "Dataset901_Small"

TO_RELEASED = (
    (r"^mask_enhanced_adapter\.", "bidatt."),
    (r"^bidatt\.attention\.", "bidatt.multi_head_self_attention."),
    (r"^bidatt\.enhancement\.", "bidatt.bidirectional_attentions.0."),
    (r"\.0\.(image|prompt)_attention\.", r".0.\1_multiheadattn."),
    (r"\.0\.image_mlp\.", ".0.mlp1."),
    (r"\.0\.prompt_mlp\.", ".0.mlp2."),
    (r"^prompt_encoder\.position\.gaussian_matrix$", "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"),
)


def golden(name, shape):
    """The weights of the reference outputs: every tensor drawn from its own name."""
    a = np.random.RandomState(crc32(name.encode()) & 0xFFFFFFFF).standard_normal(shape)
    if not name.endswith("gaussian_matrix"):
        if len(shape) == 1 and name.endswith(".weight"):
            a = 1 + 0.1 * a
        elif "rel_pos" in name:
            a = 0.2 * a
        elif len(shape) == 1:
            a = 0.05 * a
        else:
            a = a / np.sqrt(np.prod(shape[1:]))
    return torch.from_numpy(np.asarray(a, dtype=np.float32))


def released_state(*, msam=False, **changes):
    """Name to tensor as SAM-Med3D (or M-SAM) files have them, for a small geometry."""
    config = MSAMConfig.sam_med3d(adapter=msam, lora_rank=4 if msam else 0, **{**SMALL, **changes})
    state = {}
    for name, tensor in MSAM(config).state_dict().items():
        if name == "class_embedding":
            continue
        for pattern, replacement in TO_RELEASED:
            name = re.sub(pattern, replacement, name)
        value = golden(name, tuple(tensor.shape))
        if msam and not name.startswith("bidatt."):
            name = re.sub(r"\.attn\.qkv\.(weight|bias)$", r".attn.qkv.qkv.\1", name)
            name = "lora_sam.sam." + re.sub(r"\.lora_([ab]_[qv])\.", r".linear_\1.", name)
        state[name] = value
    return state


def small_plans(**changes):
    """Plans as MSAMPretrainedPlanner writes them, around a small network."""
    config = MSAMConfig.sam_med3d(**{**SMALL, **changes})
    resampling = {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": False}
    configuration = {
        "data_identifier": "MSAMPretrainedPlans_3d_fullres",
        "preprocessor_name": "SAMMed3DPreprocessor",
        "batch_size": 2,
        "patch_size": list(config.patch_size),
        "median_image_size_in_voxels": [40, 40, 40],
        "spacing": [1.5, 1.5, 1.5],
        "normalization_schemes": ["SAMMed3DCTNormalization", "SAMMed3DNormalization"],
        "use_mask_for_norm": [False, False],
        "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": resampling,
        "resampling_fn_seg": "resample_data_or_seg_to_shape",
        "resampling_fn_seg_kwargs": {**resampling, "is_seg": True},
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities_kwargs": resampling,
        "architecture": {
            "network_class_name": BUILDER,
            "arch_kwargs": config.to_arch_kwargs(),
            "_kw_requires_import": [],
        },
        "batch_dice": False,
    }
    statistics = dict(mean=1.0, std=1.0, median=1.0, min=0.0, max=2.0, percentile_00_5=0.0, percentile_99_5=2.0)
    return {
        "dataset_name": DATASET,
        "plans_name": "MSAMPretrainedPlans",
        "image_reader_writer": "NibabelIOWithReorient",
        "transpose_forward": [2, 1, 0],
        "transpose_backward": [2, 1, 0],
        "configurations": {"3d_fullres": configuration},
        "experiment_planner_used": "MSAMPretrainedPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {"0": statistics, "1": statistics},
    }


DATASET_JSON = {
    "channel_names": {"0": "CT", "1": "PET"},
    "labels": {"background": 0, "organ": 1, "tumour": 2},
    "numTraining": 5,
    "file_ending": ".nii.gz",
}


@pytest.fixture
def planned_dataset(tmp_path, monkeypatch):
    """The preprocessed folder of a planned data set with two channels and two classes."""
    folder = tmp_path / "preprocessed" / DATASET
    folder.mkdir(parents=True)
    (folder / "MSAMPretrainedPlans.json").write_text(json.dumps(small_plans()))
    (folder / "dataset.json").write_text(json.dumps(DATASET_JSON))
    monkeypatch.setenv("nnUNet_preprocessed", str(folder.parent))
    return folder


@pytest.fixture
def sam_med3d_file(tmp_path):
    """A file of the structure that SAM-Med3D's training writes."""
    path = tmp_path / "sam_med3d_turbo.pth"
    content = {"epoch": 7, "model_state_dict": released_state(), "dices": [np.float64(0.5)], "args": Namespace(lr=8e-4)}
    torch.save(content, path)
    return path


@pytest.fixture
def msam_file(tmp_path):
    """A file of the structure that M-SAM's training writes."""
    path = tmp_path / "msam.pth"
    torch.save({"model_state_dict": released_state(msam=True)}, path)
    return path


@pytest.fixture
def plans():
    return small_plans()


@pytest.fixture
def dataset_json():
    return json.loads(json.dumps(DATASET_JSON))
