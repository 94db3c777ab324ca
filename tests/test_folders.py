"""A folder or file appears whole; a folder replaces only with force; a failure leaves nothing behind."""

import os
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


def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path):
    elsewhere, link = tmp_path / "elsewhere" / "data", tmp_path / "link"
    link.symlink_to(elsewhere)
    for name in ("first", "second"):  # at first there is nothing where it leads to
        with new_folder(link, force=name == "second") as unfinished:
            (unfinished / name).touch()
        assert link.is_symlink() and [f.name for f in elsewhere.iterdir()] == [name]
        assert list(elsewhere.parent.iterdir()) == [elsewhere] and len(list(tmp_path.iterdir())) == 2


def test_a_file_is_not_replaced_by_a_folder(tmp_path):
    (tmp_path / "data").write_text("mine")
    for force in (False, True):
        with pytest.raises(UserError, match="data is a file, and a folder"), new_folder(tmp_path / "data", force=force):
            pass
    assert (tmp_path / "data").read_text() == "mine" and len(list(tmp_path.iterdir())) == 1


def test_two_processes_of_one_number_do_not_meet(tmp_path):
    """As in two containers that share a storage, or after one was killed."""
    target = tmp_path / "data"
    with new_folder(target) as first, new_folder(tmp_path / "data") as second:
        assert first != second
    with new_file(tmp_path / "page") as first, new_file(tmp_path / "page") as second:
        assert first != second
        first.touch()
        second.touch()


def test_the_folder_has_the_usual_permissions(tmp_path):
    before = os.umask(0o027)
    try:
        with new_folder(tmp_path / "data"):
            pass
    finally:
        os.umask(before)
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o750
