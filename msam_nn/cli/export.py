"""``msam export``: a trained model in a simpler form."""

from __future__ import annotations

import argparse
import copy
import json
import shutil
from pathlib import Path
from typing import Any

from msam_nn import __version__
from msam_nn.errors import UserError
from msam_nn.folders import new_folder


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Register ``msam export``."""
    parser = subparsers.add_parser(
        "export",
        help="write a trained model folder with LoRA merged into its weights",
        description="Write a copy of a trained model folder in which LoRA is merged into the weights it adapts. "
        "nnUNetv2_predict_from_modelfolder predicts the same with it; it is for prediction, not for --c.",
    )
    parser.add_argument("-m", "--model", type=Path, required=True, help="the folder with plans.json and fold_*")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the folder to write; must not exist")
    parser.add_argument("-f", "--folds", nargs="+", help="e.g. 0 1 2 3 4 or all (default: every fold that is there)")
    parser.add_argument("-chk", "--checkpoint", default="checkpoint_final.pth", help="default: %(default)s")
    parser.add_argument("--merge-lora", action="store_true", required=True, help="the one form there is so far")


def run(args: argparse.Namespace) -> int:
    """Export and say where to."""
    if args.output.exists():
        raise UserError(f"{args.output} exists: choose another folder.")
    folds = find_checkpoints(args.model, args.folds, args.checkpoint)
    with new_folder(args.output) as partial:
        export_merged(args.model, folds, partial)
    print(f"{args.output}: {', '.join(folds)} with LoRA merged")
    return 0


def find_checkpoints(model: Path, folds: list[str] | None, checkpoint: str) -> dict[str, Path]:
    """Fold folder name to its checkpoint.

    Raises:
        UserError: if there are none, or one that was asked for is missing.
    """
    there = sorted(path.parent.name for path in model.glob(f"fold_*/{checkpoint}"))
    names = [f"fold_{fold}" for fold in folds] if folds else there
    found = {name: model / name / checkpoint for name in names}
    missing = [str(path) for path in found.values() if not path.is_file()]
    if missing or not found:
        trained = " ".join(name.removeprefix("fold_") for name in there)
        mend = f"name the trained folds, -f {trained}" if there else "train it, or name another folder or -chk"
        raise UserError(f"No such checkpoint: {', '.join(missing) or model / 'fold_*' / checkpoint}: {mend}.")
    return found


def export_merged(model: Path, checkpoints: dict[str, Path], output: Path) -> None:
    """Write ``plans.json``, ``dataset.json`` and the checkpoints of a model folder, LoRA merged, into ``output``.

    Raises:
        UserError: if the model has no LoRA, or a checkpoint does not fit the plans.
    """
    from msam_nn.networks.weights.files import PROVENANCE, read_weight_file, sha256, write_weight_file
    from msam_nn.nnunet_folders import read_json

    plans = read_json(model / "plans.json", "Give the folder of a trained model, the one that holds fold_*")
    dataset_json = read_json(model / "dataset.json", "Give the folder of a trained model, the one that holds fold_*")
    merged_plans = plans
    for fold, path in checkpoints.items():
        content = read_weight_file(path)
        if not {"network_weights", "trainer_name", "init_args"} <= set(content):
            raise UserError(f"{path} is not a checkpoint of nnUNetv2_train.")
        configuration = content["init_args"]["configuration"]
        merged_plans = without_lora(plans, configuration)
        content["network_weights"] = merge(content["network_weights"], plans, configuration, dataset_json, path)
        content["init_args"] = {**content["init_args"], "plans": merged_plans}
        content["optimizer_state"] = content["grad_scaler_state"] = None
        content[PROVENANCE] = {"LoRA_merged_by": f"msam_nn {__version__}", "merged_from_SHA-256": sha256(path)}
        write_weight_file(content, output / fold / path.name)
    for name, value in (("plans.json", merged_plans), ("dataset.json", dataset_json)):
        (output / name).write_text(json.dumps(value, indent=4), encoding="utf-8")
    if (model / "dataset_fingerprint.json").is_file():
        shutil.copy(model / "dataset_fingerprint.json", output)


def without_lora(plans: dict[str, Any], configuration: str) -> dict[str, Any]:
    """A copy of the plans whose network has no LoRA and a frozen encoder.

    Raises:
        UserError: if there is no LoRA to begin with.
    """
    plans = copy.deepcopy(plans)
    kwargs = plans["configurations"][configuration].get("architecture", {}).get("arch_kwargs", {})
    if not kwargs.get("lora_rank"):
        raise UserError(f"The plans {plans['plans_name']}, {configuration}, have no LoRA: there is nothing to merge.")
    kwargs.update(lora_rank=0, freeze_encoder=True)
    return plans


def merge(weights: dict, plans: dict[str, Any], configuration: str, dataset_json: dict[str, Any], path: Path) -> dict:
    """The state dict of the same network with LoRA merged."""
    from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    from msam_nn.trainers.msam.trainer import MSAMTrainer

    manager = PlansManager(plans)
    resolved = manager.get_configuration(configuration)
    channels = determine_num_input_channels(manager, resolved, dataset_json)
    outputs = manager.get_label_manager(dataset_json).num_segmentation_heads
    network = MSAMTrainer.build_network_architecture(manager, resolved, channels, outputs)
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise UserError(f"{path} does not fit the plans beside it: {str(error).splitlines()[-1].strip()}") from error
    for block in network.image_encoder.blocks:
        block.attn.qkv = block.attn.qkv.merged()
    return network.state_dict()
