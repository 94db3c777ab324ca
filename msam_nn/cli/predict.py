"""``msam predict``: whole volumes with prompts from a file."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from msam_nn.device import torch_device
from msam_nn.errors import UserError


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Register ``msam predict``."""
    parser = subparsers.add_parser(
        "predict",
        help="predict whole volumes with clicks, boxes and masks from a file",
        description="Predict the cases of a folder with prompts; options as in nnUNetv2_predict, which is the command "
        "for predictions without prompts. docs/prompts.md describes the prompt file.",
    )
    parser.add_argument("-i", dest="images", type=Path, required=True, help="folder of images, case_0000.nii.gz …")
    parser.add_argument("-o", dest="output", type=Path, required=True, help="folder for the predictions")
    parser.add_argument("--prompts", type=Path, required=True, help="the prompt file; msam prompts makes one")
    parser.add_argument("--automatic", action="store_true", help="prompts correct an automatic prediction, instead of "
                        "starting from an empty mask; cases without prompts are predicted, too")  # fmt: skip
    parser.add_argument("-d", dest="dataset", help="data set ID or name the model was trained on")
    parser.add_argument("-tr", dest="trainer", default="MSAMTrainer")
    parser.add_argument("-p", dest="plans", default="MSAMPlans")
    parser.add_argument("-c", dest="configuration", default="3d_fullres")
    parser.add_argument("-m", dest="model", type=Path, help="the model's folder, instead of -d -tr -p -c")
    parser.add_argument("-f", dest="folds", nargs="+", default=["0", "1", "2", "3", "4"], help="default all five")
    parser.add_argument("-chk", dest="checkpoint", default="checkpoint_final.pth", help="default: %(default)s")
    parser.add_argument("-prev_stage_predictions", dest="previous_stage", type=Path, help="for cascades")
    parser.add_argument("-device", choices=("cpu", "cuda"), default="cuda")
    parser.add_argument("--disable_tta", action="store_true", help="no mirroring: faster, less accurate")
    parser.add_argument("--save_probabilities", action="store_true", help="also write probabilities as npz")
    parser.add_argument("--resample-masks", action="store_true", help="take mask prompts on other grids, resampled")


def run(args: argparse.Namespace) -> int:
    """Predict; exit status 1 if a case failed."""
    from msam_nn.inference.prompt_file import read_prompts

    prompts = read_prompts(args.prompts)

    from msam_nn.cli.export import find_checkpoints
    from msam_nn.inference.batch import PromptedBatch
    from msam_nn.inference.prompted import PromptedPredictor

    device = torch_device(args.device)
    model = model_folder(args)
    find_checkpoints(model, args.folds, args.checkpoint)
    predictor = PromptedPredictor(
        device=device,
        use_mirroring=not args.disable_tta,
        mirror_windows=not args.disable_tta,
        perform_everything_on_device=args.device == "cuda",
        allow_tqdm=False,
    )
    predictor.initialize_from_trained_model_folder(str(model), tuple(args.folds), args.checkpoint)
    batch = PromptedBatch(
        predictor,
        prompts,
        automatic=args.automatic,
        save_probabilities=args.save_probabilities,
        resample_masks=args.resample_masks,
        previous_stage=args.previous_stage,
    )
    failed = batch.run(args.images, args.output)
    for case, reason in failed.items():
        print(f"msam predict: {case}: {reason}", file=sys.stderr)
    if failed:
        asked = len(prompts.cases.keys() | failed.keys())
        print(f"msam predict: {len(failed)} of {asked} cases failed, see above.", file=sys.stderr)
    return int(bool(failed))


def model_folder(args: argparse.Namespace) -> Path:
    """The folder given with ``-m``, or nnU-Net's for ``-d -tr -p -c``.

    Raises:
        UserError: if it is not there.
    """
    if (args.model is None) == (args.dataset is None):
        raise UserError("Name the model either with -d (and -tr, -p, -c) or with -m FOLDER.")
    model = args.model
    if model is None:
        from nnunetv2.paths import nnUNet_results

        from msam_nn.nnunet_folders import dataset_name

        dataset = dataset_name(args.dataset, [nnUNet_results])
        model = Path(nnUNet_results, dataset, f"{args.trainer}__{args.plans}__{args.configuration}")
    insist_on_model(model)
    return model


def insist_on_model(folder: Path) -> None:
    """Raises UserError if a folder holds no trained model."""
    if not (folder / "plans.json").is_file():
        raise UserError(f"{folder} is no trained model: it has no plans.json.")
