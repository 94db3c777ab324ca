"""Time per click through ``msam serve`` and nnInteractive's own client, and the server's own share of it.

    python benchmarks/serve.py --threads 2

A network as ``MSAMPlanner`` builds them, with random weights, one class, one fold; server and client in one process, on
this machine. First an image of exactly one window, then a CT of 512 x 512 x 300 voxels at the network's spacing, of
noise, which cannot be compressed. The network does all its work and then answers with a ball of 40 voxels around the
point, as its random weights would change most of the window with each click; ``--worst`` leaves it at that. Medians.
CPU time, of all threads and of the client, too, is what other processes hardly touch; "without network" is a round trip
without the session's work, and the session's comparing and cutting of what changed.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import statistics
import threading
import time
from dataclasses import replace

import numpy as np
import torch
import uvicorn
from nnInteractive.inference.remote import nnInteractiveRemoteInferenceSession
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from msam_nn.inference.prompted import PromptedPredictor
from msam_nn.networks.msam import CorrectingMSAM
from msam_nn.preprocessing.architecture import MODEL_SIZES, design_architecture
from msam_nn.server.app import make_app
from msam_nn.server.label_buffer import LabelBuffer
from msam_nn.server.model import ServedModel
from msam_nn.server.session import InteractiveSession
from msam_nn.server.settings import Settings

CT = (300, 512, 512)
BALL = 40
BESIDE = 15
"""Voxels along each axis from the centre to where points fall, on either side in turn: outside the ball around the last
one, since a point that is right already runs no network."""


class BallNetwork(CorrectingMSAM):
    """Works as its parent, and answers with a ball around the newest point."""

    def refine(self, features, prompts, state, classes=None):
        self.centre = [n / 2 for n in self.patch_size] if prompts is None else prompts.points.view(3).tolist()
        return super().refine(features, prompts, state, classes)

    def masks(self, state):
        logits = super().masks(state)
        axes = [torch.arange(n) - c for n, c in zip(self.patch_size, self.centre, strict=True)]
        distance = sum(axis.view([-1 if a == b else 1 for b in range(3)]) ** 2 for a, axis in enumerate(axes)).sqrt()
        return (BALL / 2 - distance).to(logits).expand_as(logits)


def build(patch: int, tokens: int, size: str, device: torch.device, worst: bool = False) -> ServedModel:
    """Around plans that leave images as they are."""
    torch.manual_seed(0)
    planned = design_architecture((patch,) * 3, (1.0, 1.0, 1.0), n_cases=20).config()
    config = replace(planned, token_size=(tokens,) * 3, **MODEL_SIZES[size])
    network = (CorrectingMSAM if worst else BallNetwork)(config)
    resampling = {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None}
    configuration = {
        "preprocessor_name": "DefaultPreprocessor",
        "spacing": [1.0, 1.0, 1.0],
        "normalization_schemes": ["ZScoreNormalization"],
        "use_mask_for_norm": [False],
        "patch_size": [patch] * 3,
        "architecture": {"network_class_name": "", "arch_kwargs": {}, "_kw_requires_import": []},
    }
    for what in ("data", "seg", "probabilities"):
        configuration[f"resampling_fn_{what}"] = "resample_data_or_seg_to_shape"
        configuration[f"resampling_fn_{what}_kwargs"] = resampling
    plans = PlansManager(
        {
            "image_reader_writer": "SimpleITKIO",
            "transpose_forward": [0, 1, 2],
            "transpose_backward": [0, 1, 2],
            "configurations": {"3d_fullres": configuration},
            "foreground_intensity_properties_per_channel": {"0": {}},
            "label_manager": "LabelManager",
        }
    )
    dataset_json = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "tumour": 1}, "file_ending": ".nii.gz"}
    with contextlib.redirect_stdout(io.StringIO()):
        predictor = PromptedPredictor(device=device, use_mirroring=False, allow_tqdm=False)
    weights = [network.state_dict()]
    predictor.manual_initialization(
        network, plans, plans.get_configuration("3d_fullres"), weights, dataset_json, "MSAMTrainer", None
    )
    return ServedModel(predictor, "random weights")


@contextlib.contextmanager
def running(model: ServedModel):
    """Yield the address of a server in this process."""
    config = uvicorn.Config(make_app(Settings(model)), port=0, log_level="warning", timeout_graceful_shutdown=2)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


class Stopwatch:
    """CPU seconds spent in methods since the last reading."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def watch(self, owner: type, name: str) -> None:
        method = getattr(owner, name)

        def watched(*args, **kwargs):
            begin = time.process_time()
            try:
                return method(*args, **kwargs)
            finally:
                self.seconds += time.process_time() - begin

        setattr(owner, name, watched)

    def read(self) -> float:
        seconds, self.seconds = self.seconds, 0.0
        return seconds


def measure(address: str, image: np.ndarray, n_clicks: int, session: Stopwatch, own: Stopwatch) -> dict[str, float]:
    """Milliseconds: ``set_image``, the wait for the first click, the median click after it and its parts."""
    client = nnInteractiveRemoteInferenceSession(address)
    begin = time.perf_counter()
    client.set_image(image, {"spacing": [1, 1, 1]})
    times = {"set_image": time.perf_counter() - begin}
    client.set_target_buffer(np.zeros(image.shape[1:], np.uint8))
    client.reset_interactions()
    centre = [n // 2 for n in image.shape[1:]]
    generator = np.random.default_rng(1)
    samples: dict[str, list[float]] = {"click": [], "cpu": [], "own": [], "changed": []}
    for number in range(n_clicks + 1):
        aside = BESIDE if number % 2 else -BESIDE
        voxel = [c + aside + int(o) for c, o in zip(centre, generator.integers(-3, 4, 3), strict=True)]
        session.read(), own.read()
        begin, cpu = time.perf_counter(), time.process_time()
        client.add_point_interaction(voxel, True)
        click = time.perf_counter() - begin
        if number == 0:
            times["first"] = click
            continue
        box = client._last_paste_bbox or [[0, 0]]
        samples["click"].append(click)
        samples["cpu"].append(time.process_time() - cpu)
        samples["own"].append(samples["cpu"][-1] - session.read() + own.read())
        samples["changed"].append(1e-3 * float(np.prod([upper - lower for lower, upper in box])))
    client.close()
    return {k: 1e3 * v for k, v in {**times, **{k: statistics.median(v) for k, v in samples.items()}}.items()}


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patch", type=int, default=128)
    parser.add_argument("--tokens", type=int, nargs="+", default=[16, 8])
    parser.add_argument("--model", choices=tuple(MODEL_SIZES), default="tiny")
    parser.add_argument("--clicks", type=int, default=12)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--worst", action="store_true", help="every click changes most of its window")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    session, own = Stopwatch(), Stopwatch()
    for name in ("add_point", "take_changes", "mask_of"):
        session.watch(InteractiveSession, name)
    for owner, name in ((LabelBuffer, "decide"), (LabelBuffer, "take_changes"), (InteractiveSession, "mask_of")):
        own.watch(owner, name)
    rng = np.random.default_rng(0)
    images = {f"{args.patch}^3": rng.normal(size=(1, *(args.patch,) * 3)).astype(np.float32)}
    images["300 x 512 x 512"] = rng.integers(-1000, 1000, (1, *CT), np.int16)
    print(f"{args.model} model, patch {args.patch}^3, {args.threads} threads, {args.device}; ms, median\n")
    print(
        "| voxels per token | image | set_image | first click | click | its CPU time | without network | voxels sent |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for tokens in args.tokens:
        with running(build(args.patch, tokens, args.model, torch.device(args.device), args.worst)) as address:
            for name, image in images.items():
                t = measure(address, image, args.clicks, session, own)
                cells = " | ".join(f"{t[what]:.0f}" for what in ("set_image", "first", "click", "cpu"))
                print(f"| {tokens}^3 | {name} | {cells} | {t['own']:.1f} | {t['changed']:.0f} |", flush=True)


if __name__ == "__main__":
    main()
