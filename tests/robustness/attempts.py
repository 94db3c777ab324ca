"""Wrong inputs as a hurried user gives them; each function breaks something and returns the command line."""

from __future__ import annotations

import json
import pickle
import shutil
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet

from msam_nn.networks.masksam import BUILDER, MaskSAMConfig

MODEL_NAME = "MSAMTrainer__MSAMPlans__3d_fullres"


@dataclass
class World:
    """A folder with nnU-Net's folders, an untrained model of fold 0, a folder of images and a prompt file."""

    root: Path
    dataset: str
    setenv: Callable[[str, str], None]
    delenv: Callable[[str], None]

    @property
    def raw(self) -> Path:
        return self.root / "raw" / self.dataset

    @property
    def preprocessed(self) -> Path:
        return self.root / "preprocessed" / self.dataset

    @property
    def model(self) -> Path:
        return self.root / "results" / self.dataset / MODEL_NAME

    @property
    def images(self) -> Path:
        return self.root / "images"

    @property
    def image(self) -> Path:
        return next(self.images.glob("*.nii.gz"))

    @property
    def case(self) -> str:
        return self.image.name.removesuffix("_0000.nii.gz")

    @property
    def prompts(self) -> Path:
        return self.root / "prompts.json"

    def write_prompts(self, **of_class) -> None:
        space = of_class.pop("space", "voxel")
        self.prompts.write_text(json.dumps({"space": space, self.case: {"tumour": of_class}}))

    def write_image(self, array: np.ndarray) -> None:
        nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), self.image)

    def predict(self, *more: str) -> list[str]:
        given = {"-m": self.model, "-i": self.images, "-o": self.root / "out", "--prompts": self.prompts, "-f": 0}
        given |= dict(zip(more[::2], more[1::2], strict=True))
        return ["predict", *(str(part) for option in given.items() for part in option), "-device", "cpu"]

    def serve(self, *more: str) -> list[str]:
        return ["serve", "-m", str(self.model), "-device", "cpu", "--port", "0", *more]

    def clicks(self, *more: str) -> list[str]:
        return ["clicks", "-d", "900", "-f", "0", "-n", "1", "-device", "cpu", "-o", str(self.root / "out"), *more]


@dataclass(frozen=True)
class Attempt:
    """What was done wrong, in words; how; the exit status; words of the answer."""

    title: str
    make: Callable[[World], list[str]]
    status: int
    words: str


ATTEMPTS: list[Attempt] = []


def attempt(title: str, words: str, status: int = 2):
    """Register a function as an attempt."""

    def register(make: Callable[[World], list[str]]):
        ATTEMPTS.append(Attempt(title, make, status, words))
        return make

    return register


# --- commands and options ---------------------------------------------------------------------------------------------


@attempt("a command that does not exist", "invalid choice")
def _(world):
    return ["predcit"]


@attempt("an option forgotten", "required: --prompts")
def _(world):
    return ["predict", "-i", "images", "-o", "out"]


@attempt("model named twice, with -m and -d", "either with -d")
def _(world):
    return world.predict("-d", "900")


@attempt("a device that is not there", "no CUDA GPU here: add -device cpu")
def _(world):
    return [*world.predict()[:-1], "cuda"]


@attempt("a number of clicks below one", "-n takes a number of clicks from 1 on")
def _(world):
    return world.clicks("-n", "0")


@attempt("a tolerance that is no distance", "--tolerance")
def _(world):
    return world.clicks("--tolerance", "-1")


# --- folders, data sets, models ---------------------------------------------------------------------------------------


@attempt("nnUNet_results not set", "nnUNet_results is not set")
def _(world):
    world.delenv("nnUNet_results")
    command = world.predict()
    return [*command[:1], "-d", "900", *command[3:]]


@attempt("nnUNet_raw not set", "nnUNet_raw")
def _(world):
    world.delenv("nnUNet_raw")
    return ["check", "900", "-o", str(world.root / "out.html")]


@attempt("a data set that does not exist", "911")
def _(world):
    return ["check", "911", "-o", str(world.root / "out.html")]


@attempt("a mistyped data set name", "Dataset900_Tumor")
def _(world):
    return ["clicks", "-d", "Dataset900_Tumor", "-f", "0", "-device", "cpu"]


@attempt("a mistyped trainer", "MSAMTrainr")
def _(world):
    return world.clicks("-tr", "MSAMTrainr")


@attempt("a fold that was not trained", "fold 3")
def _(world):
    return world.clicks("-f", "3")


@attempt("a fold that was not trained, in a prediction", "fold_3")
def _(world):
    return world.predict("-f", "3")


@attempt("a model folder without plans.json", "no plans.json")
def _(world):
    (world.model / "plans.json").unlink()
    return world.predict()


@attempt("plans that are no JSON", "plans.json")
def _(world):
    (world.model / "plans.json").write_text('{"dataset_name": ')
    return world.predict()


@attempt("a checkpoint cut in half", "checkpoint_final.pth")
def _(world):
    file = world.model / "fold_0" / "checkpoint_final.pth"
    file.write_bytes(file.read_bytes()[:5000])
    return world.predict()


@attempt("comparing a method that was never trained", "NoTrainer__MSAMPlans__3d_fullres")
def _(world):
    return ["compare", "-d", "900", "-f", "0", "NoTrainer__MSAMPlans__3d_fullres", "-o", str(world.root / "out")]


@attempt("a transfer from a data set to itself", "are both")
def _(world):
    data = ["--source", "900", "--target", "900", "-f", "0"]
    return ["transfer", *data, "-o", str(world.root / "out"), "-device", "cpu"]


# --- outputs ----------------------------------------------------------------------------------------------------------


@attempt("an output below a device file", "/dev/null")
def _(world):
    return world.predict("-o", "/dev/null/x")


@attempt("an output that is a file", "out.nii.gz")
def _(world):
    (world.root / "out.nii.gz").write_text("mine")
    return world.predict("-o", str(world.root / "out.nii.gz"))


@attempt("an output folder that exists", "exists already")
def _(world):
    (world.root / "out").mkdir()
    return world.clicks()


@attempt("a page to a folder that is no folder", "prompts.json")
def _(world):
    return ["check", "900", "-o", str(world.prompts / "page.html")]


# --- prompt files -----------------------------------------------------------------------------------------------------


@attempt("a prompt file that is not there", "nowhere.json")
def _(world):
    return world.predict("--prompts", str(world.root / "nowhere.json"))


@attempt("a prompt file that is no JSON", "prompts.json")
def _(world):
    world.prompts.write_text("[[1, 2, 3]")
    return world.predict()


@attempt("a click outside the image", "outside", status=1)
def _(world):
    world.write_prompts(points=[[500, 10, 10, 1]])
    return world.predict()


@attempt("a click in mm read as voxels", "points")
def _(world):
    world.write_prompts(points=[[-103.5, 12.25, 40.0, 1]])
    return world.predict()


@attempt("a click in voxels read as mm", "outside", status=1)
def _(world):
    world.write_prompts(points=[[4000, 20, 20, 1]], space="world")
    return world.predict()


@attempt("a click with two coordinates", "points")
def _(world):
    world.write_prompts(points=[[10, 10, 1]])
    return world.predict()


@attempt("a box whose corners are swapped", "box")
def _(world):
    world.write_prompts(boxes=[[10, 10, 10, 2, 2, 2]])
    return world.predict()


@attempt("a class that the model does not know", "lesion", status=1)
def _(world):
    world.prompts.write_text(json.dumps({"space": "voxel", world.case: {"lesion": {"points": [[4, 4, 4, 1]]}}}))
    return world.predict()


@attempt("prompts for another folder's cases", "None of the 1 cases")
def _(world):
    world.prompts.write_text(json.dumps({"space": "voxel", "case_7": {"tumour": {"points": [[4, 4, 4, 1]]}}}))
    return world.predict()


@attempt("a mask prompt that is empty", "empty", status=1)
def _(world):
    image = nibabel.load(world.image)
    nibabel.save(nibabel.Nifti1Image(np.zeros(image.shape, np.uint8), image.affine), world.root / "mask.nii.gz")
    world.write_prompts(mask=str(world.root / "mask.nii.gz"))
    return world.predict()


@attempt("a mask prompt of another image", "another case", status=1)
def _(world):
    nibabel.save(nibabel.Nifti1Image(np.ones((5, 6, 7), np.uint8), np.eye(4)), world.root / "mask.nii.gz")
    world.write_prompts(mask=str(world.root / "mask.nii.gz"))
    return world.predict()


# --- images -----------------------------------------------------------------------------------------------------------


@attempt("a folder without images", "holds no images")
def _(world):
    return world.predict("-i", str(world.root / "raw"))


@attempt("a truncated .nii.gz", "copy or export it again", status=1)
def _(world):
    content = world.image.read_bytes()
    world.image.write_bytes(content[: len(content) // 2])
    return world.predict()


@attempt("a text file named .nii.gz", "no NIfTI", status=1)
def _(world):
    world.image.write_text("see attachment")
    return world.predict()


@attempt("an image of NaN", "NaN or infinite", status=1)
def _(world):
    world.write_image(np.full((20, 20, 20), np.nan, np.float32))
    return world.predict()


@attempt("a 4D image", "no 3D image", status=1)
def _(world):
    world.write_image(np.zeros((20, 20, 20, 3), np.float32))
    return world.predict()


@attempt("a second channel that the model does not take", "2 channel(s) and the model takes 1", status=1)
def _(world):
    shutil.copy(world.image, world.images / f"{world.case}_0001.nii.gz")
    return world.predict()


@attempt("a truncated image among the validation cases", "copy or export it again", status=1)
def _(world):
    for file in (world.raw / "imagesTr").iterdir():
        file.write_bytes(file.read_bytes()[:3000])
    return world.clicks()


@attempt("a data set without labels", "labelsTr")
def _(world):
    shutil.rmtree(world.raw / "labelsTr")
    return ["check", "900", "-o", str(world.root / "out.html")]


@attempt("a dataset.json that is no JSON", "dataset.json")
def _(world):
    (world.raw / "dataset.json").write_text("{")
    return ["check", "900", "-o", str(world.root / "out.html")]


# --- weights ----------------------------------------------------------------------------------------------------------


def convert(world: World, *more: str) -> list[str]:
    command = ["convert-weights", str(world.root / "weights.pth"), "--dataset", "900", "-p", "MSAMPlans"]
    return [*command, "-c", "3d_fullres", "-o", str(world.root / "init.pth"), *more]


class Code:
    def __reduce__(self):
        return (print, ("this code ran",))


@attempt("weights that are not there", "weights.pth")
def _(world):
    return convert(world)


@attempt("a pickle with code as weights", "not opened")
def _(world):
    (world.root / "weights.pth").write_bytes(pickle.dumps(Code()))
    return convert(world)


@attempt("a PyTorch file with code as weights", "not opened")
def _(world):
    torch.save({"model_state_dict": Code()}, world.root / "weights.pth")
    return convert(world)


@attempt("weights of another network", "neither a SAM-Med3D nor an M-SAM checkpoint")
def _(world):
    torch.save({"encoder.weight": torch.zeros(3)}, world.root / "weights.pth")
    return convert(world)


@attempt("inspecting a text file", "not opened")
def _(world):
    (world.root / "notes.pth").write_text("todo")
    return ["inspect", str(world.root / "notes.pth")]


@attempt("exporting a model that is not there", "nowhere")
def _(world):
    return ["export", "--merge-lora", "-m", str(world.root / "nowhere"), "-f", "0", "-o", str(world.root / "out")]


# --- weights and plans of MaskSAM -------------------------------------------------------------------------------------


def convert_sam(world: World, weights: dict, patch: tuple[int, int, int] = (4, 32, 32), **network) -> list[str]:
    """Convert ``weights`` for plans of a small MaskSAM network with a frozen trunk."""
    config = MaskSAMConfig(
        in_channels=1, num_classes=3, patch_size=(4, 32, 32), n_queries=8, embed_dim=24, depth=4, num_heads=2,
        global_blocks=(), decoder_dim=16, decoder_heads=2, decoder_mlp_dim=32, generator_widths=(16, 8, 8, 8, 8),
    )  # fmt: skip
    plans = json.loads((world.preprocessed / "MSAMPlans.json").read_text(encoding="utf-8"))
    plans["configurations"]["3d_fullres"].update(
        patch_size=patch,
        architecture={
            "network_class_name": BUILDER,
            "arch_kwargs": {**config.to_arch_kwargs(), **network},
            "_kw_requires_import": [],
        },
    )
    (world.preprocessed / "MaskSAMPlans.json").write_text(json.dumps({**plans, "plans_name": "MaskSAMPlans"}))
    torch.save(weights, world.root / "weights.pth")
    return convert(world, "-p", "MaskSAMPlans")


def sam(width: int = 24, depth: int = 4, *more: str) -> dict:
    """The tensors by which a file of SAM's is known."""
    blocks = {f"image_encoder.blocks.{i}.norm1.weight": torch.ones(width) for i in range(depth)}
    embedding = {"image_encoder.patch_embed.proj.weight": torch.zeros(width, 3, 16, 16)}
    return {**embedding, **blocks, **{name: torch.zeros(1) for name in more}}


@attempt("SAM-Med3D's weights for MaskSAM", "holds a 3D network's weights")
def _(world):
    return convert_sam(world, {"image_encoder.patch_embed.proj.weight": torch.zeros(768, 1, 16, 16, 16)})


@attempt("HQ-SAM's weights for MaskSAM", "holds HQ-SAM's weights")
def _(world):
    return convert_sam(world, sam(24, 4, "mask_decoder.hf_token.weight"))


@attempt("SAM's weights for plans of a small trunk of MaskSAM's own", "which no file of SAM's fits")
def _(world):
    return convert_sam(world, sam(1280, 32))


@attempt("an incomplete file of SAM's", "has no tensor for")
def _(world):
    return convert_sam(world, sam())


@attempt("more classes than MaskSAM has queries", "n_queries 2 must be at least num_classes 3")
def _(world):
    return convert_sam(world, sam(), n_queries=2)


@attempt("a MaskSAM patch that tokens do not divide", "does not divide into tokens of 16 x 16")
def _(world):
    return convert_sam(world, sam(), patch=(4, 32, 40))


# --- serving ----------------------------------------------------------------------------------------------------------


@attempt("serving a folder that is no model", "no plans.json")
def _(world):
    return ["serve", "-m", str(world.images), "-device", "cpu"]


@attempt("serving a fold that was not trained", "fold_4")
def _(world):
    return world.serve("-f", "0", "4")


@attempt("serving a model that takes no prompts", "takes no prompts")
def _(world):
    file = world.model / "fold_0" / "checkpoint_final.pth"
    checkpoint = torch.load(file, weights_only=False)
    plans = json.loads((world.model / "plans.json").read_text(encoding="utf-8"))
    kernels, n_stages = [[3, 3, 3]] * 2, 2
    plans["configurations"]["3d_fullres"]["architecture"] = {
        "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "arch_kwargs": {
            "n_stages": n_stages,
            "features_per_stage": [4, 8],
            "conv_op": "torch.nn.modules.conv.Conv3d",
            "kernel_sizes": kernels,
            "strides": [[1, 1, 1], [2, 2, 2]],
            "n_conv_per_stage": [1, 1],
            "n_conv_per_stage_decoder": [1],
            "conv_bias": True,
        },
        "_kw_requires_import": ["conv_op"],
    }
    (world.model / "plans.json").write_text(json.dumps(plans), encoding="utf-8")
    network = PlainConvUNet(1, n_stages, [4, 8], torch.nn.Conv3d, 3, [1, 2], 1, 3, 1, conv_bias=True)
    checkpoint.update(trainer_name="nnUNetTrainer", network_weights=network.state_dict())
    torch.save(checkpoint, file)
    return world.serve()


@attempt("serving a class that the model does not know", "no class lesion")
def _(world):
    return world.serve("--label", "lesion")


@attempt("serving others without a key", "--api-key")
def _(world):
    world.setenv("NN_INTERACTIVE_API_KEY", "")
    return world.serve("--host", "0.0.0.0")


@attempt("serving on a port that is taken", "choose another --port")
def _(world):
    world.taken = socket.create_server(("127.0.0.1", 0))
    return [*world.serve()[:-1], str(world.taken.getsockname()[1])]


@attempt("serving on a port that does not exist", "to 65535")
def _(world):
    return [*world.serve()[:-1], "99999"]


@attempt("serving nobody", "--max-sessions")
def _(world):
    return world.serve("--max-sessions", "0")


@attempt("serving images of no size", "--max-upload")
def _(world):
    return world.serve("--max-upload", "-1")


@attempt("saving served masks to a file", "prompts.json")
def _(world):
    return world.serve("--save-to", str(world.prompts))
