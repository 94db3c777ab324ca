"""A folder or file appears whole; a folder replaces only with force; a failure leaves nothing behind."""

from pathlib import Path

import pytest

from msam_nn.errors import UserError
from msam_nn.folders import new_file, new_folder


def test_appears_when_complete(tmp_path):
    target = tmp_path / "not_yet" / "data"
    with new_folder(target) as unfinished:
        (unfinished / "file").touch()
        assert not target.exists()
    assert [f.name for f in target.iterdir()] == ["file"]
    assert list(target.parent.iterdir()) == [target]


def test_existing_folder_needs_force_and_survives_a_failure(tmp_path):
    target = tmp_path / "data"
    target.mkdir()
    (target / "old").touch()
    with pytest.raises(UserError, match="--force"), new_folder(target):
        pass
    with pytest.raises(KeyboardInterrupt), new_folder(target, force=True):
        raise KeyboardInterrupt
    assert [f.name for f in target.iterdir()] == ["old"] and list(tmp_path.iterdir()) == [target]
    with new_folder(target, force=True) as unfinished:
        (unfinished / "new").touch()
    assert [f.name for f in target.iterdir()] == ["new"] and list(tmp_path.iterdir()) == [target]


def test_what_was_there_comes_back_where_the_new_one_cannot_be_put(tmp_path, monkeypatch):
    target = tmp_path / "data"
    target.mkdir()
    (target / "old").touch()
    rename = Path.rename

    def refuse(path, to):
        if path.name.endswith(".unfinished"):
            raise PermissionError("in use")
        return rename(path, to)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(PermissionError), new_folder(target, force=True):
        pass
    assert [f.name for f in target.iterdir()] == ["old"] and list(tmp_path.iterdir()) == [target]


def test_the_folder_that_one_is_in_is_not_replaced(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for name in (".", "..", str(tmp_path)):
        with pytest.raises(UserError, match="runs in"), new_folder(Path(name), force=True):
            pass
    assert (tmp_path / "here").is_dir()


def test_file_appears_when_complete_and_the_old_one_survives_a_failure(tmp_path):
    target = tmp_path / "not_yet" / "page.html"
    with new_file(target) as partial:
        partial.write_text("old")
        assert not target.exists()
    with pytest.raises(KeyboardInterrupt), new_file(target) as partial:
        partial.write_text("half of the n")
        raise KeyboardInterrupt
    assert target.read_text(encoding="utf-8") == "old" and list(target.parent.iterdir()) == [target]
