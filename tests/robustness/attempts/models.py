"""Folders, data sets and models."""

from __future__ import annotations

from .world import attempt


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
