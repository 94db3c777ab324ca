"""``msam convert-weights``: SAM-Med3D's, M-SAM's, SAM's or a trained nnU-Net's weights, fit for a data set's plans."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from msam_nn import __version__
from msam_nn.errors import UserError


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Register ``msam convert-weights``."""
    parser = subparsers.add_parser(
        "convert-weights",
        help="make released weights, or a trained nnU-Net's, fit for nnUNetv2_train -pretrained_weights",
        description="Write SAM-Med3D's or M-SAM's released weights, or SAM's for MaskSAM's plans, as a file for "
        "nnUNetv2_train -pretrained_weights, with the classes and input channels of a planned data set; or a "
        "checkpoint of nnUNetTrainer, for MSAMUNetTrainer, which freezes it and learns clicks.",
    )
    parser.add_argument(
        "source",
        type=Path,
        help="sam_med3d_turbo.pth, sam_vit_b_01ec64.pth, or .../fold_0/checkpoint_final.pth of nnU-Net",
    )
    parser.add_argument("-d", "--dataset", required=True, help="number or name of the data set")
    parser.add_argument("-p", "--plans", help="default: those a checkpoint of nnU-Net was trained with; otherwise "
                        "MSAMPretrainedPlans")  # fmt: skip
    parser.add_argument("-c", "--configuration", default="3d_fullres", help="default: %(default)s")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the file to write, e.g. init.pth")
    parser.add_argument(
        "-tr", dest="trainer", help="of SAM's weights: the trainer they are for (SAM3DPretrainedTrainer, ...)"
    )
    parser.add_argument("--seed", type=int, default=0, help="for the weights that are new (default: %(default)s)")
    parser.add_argument("--force", action="store_true", help="replace an existing output file")


def run(args: argparse.Namespace) -> int:
    """Convert, and print what was loaded and what is new."""
    from nnunetv2.paths import nnUNet_preprocessed

    from msam_nn.cli.inspect import describe
    from msam_nn.networks.weights.files import write_weight_file
    from msam_nn.nnunet_folders import dataset_name, read_json

    if args.output.exists() and not args.force:
        raise UserError(f"{args.output} exists: choose another name, or add --force to replace it.")
    dataset = Path(nnUNet_preprocessed, dataset_name(args.dataset, [nnUNet_preprocessed]))
    plans_name = args.plans or default_plans(args.source)
    files, mend = (dataset / f"{plans_name}.json", dataset / "dataset.json"), ""
    if not all(file.is_file() for file in files):  # the planners take seconds to import
        mend = f"Plan the data set first: {planning_command(args.dataset, plans_name, args.configuration)}"
    plans, dataset_json = (read_json(file, mend) for file in files)
    content, trainer = convert(
        args.source, plans, args.configuration, dataset_json, seed=args.seed, trainer_name=args.trainer
    )
    write_weight_file(content, args.output, force=args.force)
    print(f"{args.output}\n{describe(content)}")
    print(
        f"\nTrain with: nnUNetv2_train {dataset.name} {args.configuration} FOLD -tr {trainer} -p {plans_name} "
        f"-pretrained_weights {shlex.quote(str(args.output))}"
    )
    return 0


def default_plans(source: Path) -> str:
    """Name of the plans that a checkpoint of nnU-Net's was trained with, for released weights MSAMPretrainedPlanner's.

    Raises:
        UserError: if the file cannot be read.
    """
    from msam_nn.networks.weights.files import read_weight_file

    arguments = read_weight_file(source).get("init_args", {})
    return arguments.get("plans", {}).get("plans_name", "MSAMPretrainedPlans")


def planning_command(dataset: str, plans: str, configuration: str) -> str:
    """nnU-Net's command that writes the plans, in words where their planner is not known."""
    from msam_nn.registry import PLANNERS, load

    planner = next((name for name, target in PLANNERS.items() if load(target).default_plans_name == plans), None)
    command = f"nnUNetv2_plan_and_preprocess -d {dataset} -c {configuration}"
    if planner is not None:
        return f"{command} -pl {planner}"
    return command if plans == "nnUNetPlans" else f"{command} -pl PLANNER, with the planner that writes {plans}"


def convert(
    source: Path,
    plans: dict[str, Any],
    configuration: str,
    dataset_json: dict[str, Any],
    *,
    seed: int = 0,
    trainer_name: str | None = None,
) -> tuple[dict[str, Any], str]:
    """A network for the plans with the source's weights in it, as nnU-Net's ``load_pretrained_weights`` reads it.

    Arguments:
        source: a SAM-Med3D, M-SAM or SAM file, or a checkpoint of a U-Net that ``nnUNetv2_train`` wrote.
        plans, dataset_json: nnU-Net's; ``plans`` may be changed.
        seed: for LoRA, adapter and whatever else the file does not have.
        trainer_name: of a baseline on SAM's encoder; None for the trainer that the file's kind belongs to.

    Returns:
        ``network_weights`` (a state dict) and the provenance under ``msam_nn``; and the trainer to use them with.

    Raises:
        UserError: if the file is of another kind or the plans are for another network.
    """
    import torch
    from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels

    from msam_nn.networks.masksam import BUILDER
    from msam_nn.networks.weights.files import PROVENANCE, read_weight_file, released_state_dict, sha256
    from msam_nn.networks.weights.nnunet import is_unet_state, load_unet
    from msam_nn.networks.weights.sam import load_sam
    from msam_nn.networks.weights.sam_med3d import CheckpointError, load_reference_checkpoint
    from msam_nn.trainers.masksam import architecture as masksam
    from msam_nn.trainers.masksam.trainer import MaskSAMTrainer
    from msam_nn.trainers.msam.architecture import adopt_plans
    from msam_nn.trainers.msam.trainer import MSAMTrainer
    from msam_nn.trainers.msam_unet.trainer import MSAMUNetTrainer, prepare_plans
    from msam_nn.trainers.planned_trainer import resolve_configuration

    content = read_weight_file(source)
    weights = released_state_dict(content)
    if trainer_name is not None:
        trainer, prepare, load = _baseline_on_sam(trainer_name)
    elif resolve_configuration(plans, configuration)[1].network_arch_class_name == BUILDER:
        trainer, prepare, load = MaskSAMTrainer, masksam.adopt_plans, load_sam
    elif is_unet_state(weights):
        trainer, prepare, load = MSAMUNetTrainer, prepare_plans, load_unet
    else:
        trainer, prepare, load = MSAMTrainer, adopt_plans, load_reference_checkpoint
    prepare(plans, configuration, dataset_json)
    manager, resolved = resolve_configuration(plans, configuration)
    channels = determine_num_input_channels(manager, resolved, dataset_json)
    outputs = manager.get_label_manager(dataset_json).num_segmentation_heads
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = trainer.build_network_architecture(manager, resolved, channels, outputs)
    try:
        report = load(network, weights)
    except CheckpointError as error:
        if trainer is MSAMTrainer and "trainer_name" in content:
            raise UserError(
                f"{source} is a checkpoint of {content['trainer_name']}: MSAMUNetTrainer takes one of nnUNetTrainer, "
                f"and any other goes to nnUNetv2_train -pretrained_weights as it is, with its own trainer and plans."
            ) from error
        wrong_plans = trainer is MSAMTrainer and not network.config.lora_rank
        hint = f" {manager.plans_name} may not be plans of MSAMPretrainedPlanner." if wrong_plans else ""
        raise UserError(f"{source}: {error}{hint}") from error
    provenance = {
        "source": source.name,
        "sha256": sha256(source),
        "kind": report.kind,
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "msam_nn_version": __version__,
        "dataset": manager.dataset_name,
        "plans": manager.plans_name,
        "configuration": configuration,
        "channels": channels,
        "outputs": outputs,
        "seed": seed,
        "loaded": report.loaded,
        "adapted": report.adapted,
        "new": report.new,
        "merged": report.merged,
        "unused": report.unused,
    }
    return {"network_weights": network.state_dict(), PROVENANCE: provenance}, trainer.__name__


def _baseline_on_sam(name: str) -> tuple[type, Callable, Callable]:
    """The trainer, what makes plans fit it, and what loads SAM's weights into its network.

    Raises:
        UserError: for any other trainer.
    """
    from msam_nn.networks.weights.sam import load_sam
    from msam_nn.trainers.baselines import sam_slices

    trainer = getattr(sam_slices, name, None)
    on_sam = {cls.__name__ for cls in vars(sam_slices).values() if isinstance(cls, type)
              and issubclass(cls, sam_slices.ReleasedTrunk) and cls is not sam_slices.ReleasedTrunk}  # fmt: skip
    if name not in on_sam:
        raise UserError(f"-tr is for baselines on SAM's encoder, {' and '.join(sorted(on_sam))}; not {name}.")
    return trainer, lambda plans, configuration, _: trainer.fit_plans(plans, configuration), load_sam
