"""What a model costs: parameters, training time, and time and memory of a prediction."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from time import perf_counter, process_time
from typing import NamedTuple

import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

LOG_LINE = re.compile(
    r"^(?P<time>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+): "
    r"(Epoch (?P<epoch>\d+)|Epoch time|(?P<done>Training done)|CPU time: (?P<cpu>\d+\.\d+) minutes)"
)


class TrainingTime(NamedTuple):
    """Minutes by the clock, and of CPU time of the training process and its workers; NaN where not recorded."""

    wall: float
    cpu: float


def training_time(fold_folder: Path) -> TrainingTime:
    """Minutes from the first epoch to the end of training, by its logs; NaN without a finished one.

    A training continued with ``--c`` is the sum of its sessions, each up to its last complete epoch; one that started
    over counts from there. Validation of the final model does not count. CPU time is written by our trainers and by any
    trainer with a budget in its name.
    """
    wall, cpu, finished = 0.0, 0.0, False
    for log in sorted(fold_folder.glob("training_log_*.txt"), key=_date):
        lines = [LOG_LINE.match(line) for line in log.read_text(encoding="utf-8", errors="replace").splitlines()]
        lines = [line for line in lines if line]
        begins = [line for line in lines if line["epoch"] is not None]
        if not begins:
            continue
        if int(begins[0]["epoch"]) == 0:
            wall, cpu, finished = 0.0, 0.0, False
        ends = [line for line in lines if line["epoch"] is None]
        if ends:
            began, ended = (datetime.fromisoformat(line["time"]) for line in (begins[0], ends[-1]))
            wall += (ended - began).total_seconds() / 60
            told = [float(line["cpu"]) for line in ends if line["cpu"] is not None]
            cpu += told[-1] if told else float("nan")
        finished = any(line["done"] for line in lines)
    return TrainingTime(wall, cpu) if finished else TrainingTime(float("nan"), float("nan"))


def _date(log: Path) -> tuple[list[int], str]:
    """In a log's name, where nnU-Net does not pad months and days."""
    return [int(number) for number in re.findall(r"\d+", log.name)], log.name


def load_predictor(model: Path, folds: Sequence[int], device: torch.device) -> nnUNetPredictor | None:
    """nnU-Net's predictor with its defaults for an ensemble of folds; None if a final checkpoint is not there."""
    if not all((model / f"fold_{fold}" / "checkpoint_final.pth").is_file() for fold in folds):
        return None
    with contextlib.redirect_stdout(io.StringIO()):  # nnU-Net explains its default on CPU
        predictor = nnUNetPredictor(device=device, allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(model), tuple(folds))
    return predictor


def n_parameters(predictor: nnUNetPredictor) -> int:
    """Parameters of the network, shared ones once."""
    return sum(parameter.numel() for parameter in predictor.network.parameters())


class PredictionCost(NamedTuple):
    """Seconds from the arrays in memory to the segmentation, CPU seconds of the process meanwhile, and GiB of GPU
    memory at the peak, NaN on CPU."""

    seconds: float
    cpu_seconds: float
    gpu_gib: float


def measure_prediction(predictor: nnUNetPredictor, images: Sequence[Path]) -> PredictionCost:
    """Predict one case twice, as ``nnUNetv2_predict`` does by default, and measure the second time."""
    reader = predictor.plans_manager.image_reader_writer_class()
    image, properties = reader.read_images([str(file) for file in images])
    on_gpu = predictor.device.type == "cuda"
    for _ in range(2):
        if on_gpu:
            torch.cuda.reset_peak_memory_stats(predictor.device)
        began, cpu_began = perf_counter(), process_time()
        predictor.predict_single_npy_array(image, properties)
        seconds, cpu_seconds = perf_counter() - began, process_time() - cpu_began
    gpu_gib = torch.cuda.max_memory_allocated(predictor.device) / 2**30 if on_gpu else float("nan")
    return PredictionCost(seconds, cpu_seconds, gpu_gib)
