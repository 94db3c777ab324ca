"""Where the demo's commands write."""

from msam_nn.demo import layout


def test_environment_points_into_the_working_folder_only(tmp_path, monkeypatch):
    monkeypatch.setenv("nnUNet_raw", "/the/users/own")
    environment = layout.Layout(tmp_path, layout.MODELS["msam"]).environment()
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        assert environment[name] == str(tmp_path / name)
    assert environment["nnUNet_n_proc_DA"] == "1" and environment["nnUNet_def_n_proc"] == "2"


def test_commands_survive_a_folder_with_a_space(tmp_path, monkeypatch):
    here, calls = layout.Layout(tmp_path / "my demo", layout.MODELS["msam"]), []
    monkeypatch.setattr(layout, "find_command", str)
    monkeypatch.setattr(layout, "run_logged", lambda command, **_: calls.append(command))
    for step in layout.steps(here, "cpu"):
        layout.run_step(step, here)
    assert str(here.predictions) in calls[2] and str(here.truth) in calls[3]
