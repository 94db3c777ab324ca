"""Train for a budget of CPU time on one thread and score validation cases: one line a trial, for choosing a recipe.

    python benchmarks/accuracy/ablations.py Dataset004_Hippocampus MSAMPlans MSAMTrainer --cpu-minutes 5 \\
        --network '{"n_auto_stages": 1}' --clicks '{"p_long": 0}' -o trials.jsonl

CPU time is what other work on the machine does not distort. ``nnUNet_preprocessed`` holds the planned data set. Scores
are those of ``trials.py``: automatic by sliding window without mirroring, and after clicks in the centre of the largest
error in one window around the objects, by the network alone and with the corrections that prediction adds (the clicks
then go where the corrected mask is wrong). Final figures come from the package's own commands:
``MSAMTrainer_5cpuminutes``, ``nnUNetv2_predict``, ``msam clicks``.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np
import torch
from trials import automatic_dice, click_curve, make_trainer, train, validation_cases

from msam_nn.networks import PromptableNetwork


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("plans")
    parser.add_argument("trainer")
    parser.add_argument("--cpu-minutes", type=float, default=5)
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--network", type=json.loads, default={}, help="JSON: fields of the architecture to change")
    parser.add_argument("--clicks", type=json.loads, default={}, help="JSON: fields of the click recipe to change")
    parser.add_argument("--cases", type=int, default=24, help="validation cases scored automatically")
    parser.add_argument("--click-cases", type=int, default=10)
    parser.add_argument("--weights", type=Path, help="score these weights of an earlier trial instead of training")
    parser.add_argument("-o", "--output", type=Path, default=Path("trials.jsonl"))
    arguments = parser.parse_args()
    os.environ["nnUNet_n_proc_DA"] = "0"  # augmentation in this process counts as CPU time
    torch.set_num_threads(1)
    torch.manual_seed(arguments.seed)
    np.random.seed(arguments.seed)
    trainer = make_trainer(
        arguments.dataset,
        arguments.plans,
        arguments.trainer,
        fold=arguments.fold,
        batch_size=arguments.batch_size,
        network=arguments.network,
        clicks=arguments.clicks,
    )
    steps = 0
    if arguments.weights:
        trainer.network.load_state_dict(torch.load(arguments.weights, weights_only=True))
        trainer.network.eval()
    else:
        steps = train(trainer, 60 * arguments.cpu_minutes, arguments.seed, time.process_time)
    cases = validation_cases(trainer, max(arguments.cases, arguments.click_cases))
    automatic, seconds = automatic_dice(trainer, cases[: arguments.cases], time.process_time)
    result = {k: str(v) if isinstance(v, Path) else v for k, v in vars(arguments).items() if k != "output"}
    result |= {"steps": steps, "dice": round(automatic, 4), "seconds a case": round(seconds, 3)}
    if isinstance(trainer.network, PromptableNetwork):
        for name, corrected in (("clicks", False), ("clicks, corrected", True)):
            result[f"dice after {name}"] = click_curve(trainer.network, cases[: arguments.click_cases], corrected)
    with arguments.output.open("a", encoding="utf-8") as file:
        file.write(json.dumps(result) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
