"""A grid worked out by hand, and what counts as finished."""

import json
import os

import pytest

from msam_nn.arena.grid_file import read_grid
from msam_nn.arena.jobs import insist_on_plans_of_trainings, jobs_of, still_needed
from msam_nn.errors import UserError

from .conftest import M_SAM

DATASET = "Dataset900_TumourPhantom"


def named(jobs):
    return {job.name: job for job in jobs}


def test_a_grid_by_hand(arena, tmp_path):
    nnunet = {"nnU-Net": {"trainer": "nnUNetTrainer", "plans": "Mine"}}
    plans = {"Mine": {"planner": "ExperimentPlanner", "options": "-gpu_memory_target 1"}}
    grid = read_grid(arena(methods={**nnunet, **M_SAM}, plans=plans, seeds=[5], budget="2epochs", clicks="-n 3"))
    jobs = jobs_of(grid, cores=2)
    unet, msam = "nnUNetTrainer_2epochs__Mine__3d_fullres", "MSAMTrainer_2epochs__MSAMPlans__3d_fullres"
    assert [(job.name, job.after) for job in jobs] == [
        (f"fingerprint.{DATASET}", ()),
        (f"plan.{DATASET}.Mine", (f"fingerprint.{DATASET}",)),
        (f"train.{DATASET}.{unet}.fold_0.seed_5", (f"plan.{DATASET}.Mine",)),
        (f"plan.{DATASET}.MSAMPlans", (f"fingerprint.{DATASET}",)),
        (f"train.{DATASET}.{msam}.fold_0.seed_5", (f"plan.{DATASET}.MSAMPlans",)),
        (f"clicks.{DATASET}.{msam}.seed_5", (f"train.{DATASET}.{msam}.fold_0.seed_5",)),
        ("report", (
            f"train.{DATASET}.{unet}.fold_0.seed_5", f"train.{DATASET}.{msam}.fold_0.seed_5",
            f"clicks.{DATASET}.{msam}.seed_5",
        )),
    ]  # fmt: skip
    results, folder = tmp_path / "results" / "seed_5", tmp_path / "grid_arena"
    seeded = f"nnUNet_results={results} MSAM_NN_SEED=5 "
    assert [job.shell_line() for job in jobs] == [
        "nnUNetv2_extract_fingerprint -d 900 --verify_dataset_integrity -np 2",
        "nnUNet_n_proc_DA=1 nnUNetv2_plan_and_preprocess -d 900 -pl ExperimentPlanner -c 3d_fullres -npfp 2 -np 2 "
        "-gpu_memory_target 1 -overwrite_plans_name Mine",
        f"{seeded}nnUNetv2_train {DATASET} 3d_fullres 0 -tr nnUNetTrainer_2epochs -p Mine -device cpu",
        "nnUNet_n_proc_DA=1 nnUNetv2_plan_and_preprocess -d 900 -pl MSAMPlanner -c 3d_fullres -npfp 2 -np 2",
        f"{seeded}nnUNetv2_train {DATASET} 3d_fullres 0 -tr MSAMTrainer_2epochs -p MSAMPlans -device cpu",
        f"{seeded}msam clicks -d {DATASET} -tr MSAMTrainer_2epochs -p MSAMPlans -c 3d_fullres -f 0 -device cpu "
        f"--tolerance 1 -n 3 -o {folder}/clicks/{DATASET}/{msam}.seed_5 --force",
        f"msam arena report {tmp_path}/grid.yaml -o {folder}/report --force",
    ]


@pytest.fixture
def train(arena):
    """The one training of a grid, without seeds."""
    jobs = jobs_of(read_grid(arena(methods=M_SAM)), cores=1)
    return next(job for job in jobs if job.stage == "train")


@pytest.mark.parametrize(
    ("checkpoints", "flag", "finished"),
    [((), (), False), (("best",), ("--c",), False), (("latest", "best"), ("--c",), False),
     (("best", "final"), ("--val",), False)],
)  # fmt: skip
def test_a_training_goes_on_where_nnunets_files_say(train, checkpoints, flag, finished):
    train.fold_folder.mkdir(parents=True)
    for which in checkpoints:
        (train.fold_folder / f"checkpoint_{which}.pth").touch()
    assert train.command_now() == (*train.command, *flag) and train.is_finished() is finished


def test_a_validated_final_checkpoint_is_finished(train):
    (train.fold_folder / "validation").mkdir(parents=True)
    (train.fold_folder / "checkpoint_final.pth").touch()
    assert not train.is_finished()
    (train.fold_folder / "validation" / "summary.json").touch()
    assert train.is_finished()


def leave(*files):
    """As a job that ends well does."""
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()


def record(job, *attempts):
    """Pairs of command and exit status."""
    job.record.mkdir(parents=True)
    lines = [json.dumps({"command": list(command), "status": status}) for command, status in attempts]
    (job.record / "attempts.jsonl").write_text("\n".join(lines))


def test_clicks_are_finished_when_no_case_failed(arena):
    grid = read_grid(arena(methods=M_SAM, clicks="-n 3", tolerance=2))
    clicks = next(job for job in jobs_of(grid, cores=1) if job.stage == "clicks")
    assert "--tolerance 2 -n 3" in clicks.shell_line() and not clicks.is_finished()
    leave(*clicks.models, *clicks.files)
    assert clicks.is_finished()
    leave(clicks.files[0].with_name("failed.csv"))
    assert not clicks.is_finished()


def test_a_model_that_is_trained_again_is_measured_again(arena):
    jobs = jobs_of(read_grid(arena(methods=M_SAM, clicks="-n 3", folds=[0, 1])), cores=1)
    clicks = next(job for job in jobs if job.stage == "clicks")
    trained = [job for job in jobs if job.stage == "train"]
    assert clicks.models == tuple(job.files[0] for job in trained)
    leave(*(file for job in trained for file in job.files), *clicks.files)
    assert still_needed(jobs) == {"report"}
    clicks.models[1].unlink()
    assert still_needed(jobs) == {trained[1].name, clicks.name, "report"}
    leave(clicks.models[1])
    measured = clicks.files[0].stat().st_mtime
    os.utime(clicks.models[1], (measured + 1, measured + 1))
    assert still_needed(jobs) == {clicks.name, "report"}


@pytest.mark.parametrize(
    ("change", "finished"),
    [({}, True), ({"device": "cuda"}, True), ({"folds": [0, 1]}, False), ({"tolerance": 3}, False),
     ({"clicks": "-n 4"}, False)],
)  # fmt: skip
def test_what_was_measured_otherwise_is_measured_again(arena, change, finished):
    def clicks_job(**more):
        grid = read_grid(arena(**{"methods": M_SAM, "clicks": "-n 3", "folds": [0], "tolerance": 2, **more}))
        return next(job for job in jobs_of(grid, cores=1) if job.stage == "clicks")

    measured = clicks_job()
    leave(*clicks_job(folds=[0, 1]).models, *measured.files)
    record(measured, ([*measured.command, "--other"], 0), (measured.command, 0), ([*measured.command, "--killed"], -9))
    again = clicks_job(**change)
    assert again.files == measured.files and again.is_finished() is finished


def test_a_plan_is_finished_when_every_case_is_preprocessed(arena, nnunet_folders, tmp_path, monkeypatch):
    grid = read_grid(arena(methods=M_SAM))
    job = named(jobs_of(grid, cores=1))[f"plan.{DATASET}.MSAMPlans"]
    assert job.is_finished()
    import shutil

    copy = tmp_path / "preprocessed"
    shutil.copytree(nnunet_folders["nnUNet_preprocessed"], copy)
    monkeypatch.setenv("nnUNet_preprocessed", str(copy))
    job = named(jobs_of(grid, cores=1))[f"plan.{DATASET}.MSAMPlans"]
    next((copy / DATASET / "MSAMPlans_3d_fullres").glob("*.pkl")).unlink()
    assert not job.is_finished()
    declared = copy / DATASET / "dataset.json"
    content = json.loads(declared.read_text())
    declared.write_text(json.dumps({**content, "numTraining": content["numTraining"] - 1}))
    assert job.is_finished()
    for damaged in (json.dumps({**content, "numTraining": "1"}), "{}", "{", None):
        declared.unlink() if damaged is None else declared.write_text(damaged)
        assert not job.is_finished()
    file = copy / DATASET / "MSAMPlans.json"
    plans = json.loads(file.read_text())
    declared.write_text(json.dumps({**content, "numTraining": 1}))
    for damaged in (json.dumps({**plans, "configurations": {}}), file.read_text()[:50]):
        assert job.is_finished()
        file.write_text(damaged)
        assert not job.is_finished()
        file.write_text(json.dumps(plans))


def test_plans_of_other_options_are_made_again_where_the_arena_made_them(arena):
    def plan_job(options, cores=1):
        plans = {"MSAMPlans": {"planner": "MSAMPlanner", "options": options}}
        return named(jobs_of(read_grid(arena(methods=M_SAM, plans=plans)), cores))[f"plan.{DATASET}.MSAMPlans"]

    made, other = plan_job("-gpu_memory_target 1"), plan_job("-gpu_memory_target 2")
    assert made.is_finished() and other.is_finished()
    record(made, (made.command, 0), (other.command, 1))
    assert plan_job("-gpu_memory_target 1", cores=2).is_finished() and not other.is_finished()


def test_what_only_prepares_finished_jobs_is_not_needed(arena, tmp_path, monkeypatch):
    grid = read_grid(arena(methods=M_SAM))
    (tmp_path / "empty" / DATASET).mkdir(parents=True)
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path / "empty"))
    jobs = jobs_of(grid, cores=1)
    stages = {job.name: job.stage for job in jobs}
    assert [stages[job.name] for job in jobs if job.name in still_needed(jobs)] == [
        "fingerprint", "plan", "train", "report",
    ]  # fmt: skip
    train = next(job for job in jobs if job.stage == "train")
    for file in train.files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    assert still_needed(jobs) == {"report"}


def test_transfers_wait_for_both_data_sets(arena, nnunet_folders, monkeypatch):
    import shutil

    raw = nnunet_folders["nnUNet_raw"]
    shutil.copytree(raw / DATASET, raw / "Dataset903_Twin")
    try:
        jobs = jobs_of(read_grid(arena(datasets=[900, 903], methods=M_SAM, transfer=True)), cores=1)
    finally:
        shutil.rmtree(raw / "Dataset903_Twin")
    transfers = [job for job in jobs if job.stage == "transfer"]
    assert [job.name.split(".")[1:3] for job in transfers] == [
        [DATASET, "Dataset903_Twin"], ["Dataset903_Twin", DATASET],
    ]  # fmt: skip
    assert {name.split(".")[1] for name in transfers[0].after} == {DATASET, "Dataset903_Twin"}
    assert "--source Dataset900_TumourPhantom --target Dataset903_Twin" in transfers[0].shell_line()


def test_plans_that_a_training_has_begun_with_keep_their_options(arena):
    def jobs(options):
        plans = {"Mine": {"planner": "MSAMPlanner", "options": options}}
        grid = read_grid(arena(methods={"a": {"trainer": "MSAMTrainer", "plans": "Mine"}}, plans=plans))
        made = jobs_of(grid, cores=1)
        return made, named(made)[f"plan.{DATASET}.Mine"], next(job for job in made if job.stage == "train")

    before, plan, training = jobs("-gpu_memory_target 0.5")
    record(plan, (plan.command, 0))
    other, _, _ = jobs("-gpu_memory_target 8")
    insist_on_plans_of_trainings(other)  # nothing was trained yet
    leave(training.fold_folder / "checkpoint_best.pth")
    insist_on_plans_of_trainings(before)
    with pytest.raises(UserError, match=f"other options for Mine than {training.name} has begun with"):
        insist_on_plans_of_trainings(other)
