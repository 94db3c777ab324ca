"""``msam inspect``: what a weight file holds and where it comes from."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msam_nn.errors import UserError


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Register ``msam inspect``."""
    parser = subparsers.add_parser(
        "inspect",
        help="say what a weight file or checkpoint holds",
        description="Describe a file of msam convert-weights, a checkpoint of nnUNetv2_train, or a released SAM-Med3D "
        "or M-SAM file. Nothing in the file is executed.",
    )
    parser.add_argument("file", type=Path)


def run(args: argparse.Namespace) -> int:
    """Print the description."""
    from msam_nn.networks.weights.files import read_weight_file

    content = read_weight_file(args.file)
    print(f"{args.file}\n{describe(content)}")
    return 0


def describe(content: dict[str, Any]) -> str:
    """Several lines about a loaded weight file.

    Raises:
        UserError: if it is of no known kind; says which keys were expected.
    """
    from msam_nn.networks.weights.files import PROVENANCE

    if "network_weights" in content and "trainer_name" in content:
        title, lines = "checkpoint of nnUNetv2_train", _checkpoint_lines(content)
    elif "network_weights" in content and PROVENANCE in content:
        title, lines = "weights for nnUNetv2_train -pretrained_weights", _converted_lines(content)
    else:
        title, lines = "released weights, to be made usable by msam convert-weights", _released_lines(content)
    width = max(len(name) for name, _ in lines)
    return "\n".join([title, *(f"  {name:<{width}}  {text}" for name, text in lines)])


def _converted_lines(content: dict[str, Any]) -> list[tuple[str, str]]:
    from msam_nn.networks.weights.files import PROVENANCE, count_parameters
    from msam_nn.networks.weights.sam_med3d import our_key

    origin = content[PROVENANCE]
    lines = [
        ("source", f"{origin['source']} ({origin['kind']})"),
        ("SHA-256", origin["sha256"]),
        ("written", f"{origin['date']} by msam_nn {origin['msam_nn_version']}, seed {origin['seed']}"),
        ("for", f"{origin['dataset']}, {origin['plans']}, {origin['configuration']}"),
        ("network", f"{origin['channels']} input channels, {origin['outputs']} outputs"),
        ("parameters", f"{count_parameters(content['network_weights']):,}"),
        ("loaded", f"{len(origin['loaded'])} tensors: {_parts(origin['loaded'])}"),
        ("adapted", ", ".join(origin["adapted"]) or "none"),
        ("new", f"{len(origin['new'])} tensors: {_parts(origin['new'])}" if origin["new"] else "none"),
    ]
    if origin.get("merged"):
        lines.append(("merged", f"LoRA into {len(origin['merged'])} weights"))
    if unused := [our_key(name) for name in origin.get("unused", ())]:
        lines.append(("not used", f"{len(unused)} tensors of the file: {_parts(unused)}"))
    return lines


def _checkpoint_lines(content: dict[str, Any]) -> list[tuple[str, str]]:
    from msam_nn.networks.weights.files import PROVENANCE, count_parameters

    arguments = content.get("init_args", {})
    plans, configuration = arguments.get("plans", {}), arguments.get("configuration", "?")
    best = content.get("_best_ema")
    lines = [
        ("trainer", content["trainer_name"]),
        ("data set", plans.get("dataset_name", "?")),
        ("plans", f"{plans.get('plans_name', '?')}, {configuration}"),
        ("fold", str(arguments.get("fold", "?"))),
        ("epochs", str(content.get("current_epoch", "?"))),
        ("best pseudo Dice", "none yet" if best is None else f"{float(best):.4f} (moving average)"),
        ("parameters", f"{count_parameters(content['network_weights']):,}"),
    ]
    architecture = plans.get("configurations", {}).get(configuration, {}).get("architecture", {})
    if architecture:
        lines.append(("network", _network_line(architecture)))
    if PROVENANCE in content:
        lines += [(name.replace("_", " "), str(value)) for name, value in content[PROVENANCE].items()]
    return lines


def _network_line(architecture: dict[str, Any]) -> str:
    """The network of a plans' ``architecture`` in words."""
    from msam_nn.networks import masksam, msam

    name, kwargs = architecture["network_class_name"], architecture["arch_kwargs"]
    if name == masksam.BUILDER:
        trunk = "frozen" if kwargs["freeze_trunk"] else "trained"
        return f"MaskSAM, patch {kwargs['patch_size']}, {kwargs['n_queries']} queries a slice, trunk {trunk}"
    if name != msam.BUILDER:
        return name
    encoder = f"frozen, LoRA rank {kwargs['lora_rank']}" if kwargs["lora_rank"] else "trained"
    if kwargs["freeze_encoder"] and not kwargs["lora_rank"]:
        encoder = "frozen"
    return f"M-SAM, patch {kwargs['patch_size']}, tokens of {kwargs['token_size']}, encoder {encoder}"


def _released_lines(content: dict[str, Any]) -> list[tuple[str, str]]:
    from msam_nn.networks.layers.depth_adapter import SAM_PARTS
    from msam_nn.networks.weights.files import count_parameters, released_state_dict
    from msam_nn.networks.weights.sam import is_sam_state
    from msam_nn.networks.weights.sam_med3d import our_key

    weights = {our_key(k.removeprefix("module.")): v for k, v in released_state_dict(content).items()}
    missing = [part for part in SAM_PARTS if not any(name.startswith(part) for name in weights)]
    if missing:
        raise UserError(
            f"The file is of no known kind: expected the keys network_weights (nnU-Net, msam convert-weights) or "
            f"{', '.join(part + '*' for part in SAM_PARTS)} (SAM; under model_state_dict SAM-Med3D, M-SAM); "
            f"it has {', '.join(map(str, list(content)[:5])) or 'none'}."
        )
    extended = any(name.startswith("mask_enhanced_adapter.") or ".lora_" in name for name in weights)
    kind = "SAM" if is_sam_state(weights) else "M-SAM" if extended else "SAM-Med3D"
    return [
        ("kind", kind),
        ("parameters", f"{count_parameters(weights):,}"),
        ("tensors", f"{len(weights)}: {_parts(weights)}"),
    ]


def _parts(names: Mapping[str, Any] | list[str]) -> str:
    """How many tensors belong to which part of the network."""
    counts = Counter("LoRA" if ".lora_" in name else name.split(".")[0] for name in names)
    return ", ".join(f"{part} {number}" for part, number in counts.items())
