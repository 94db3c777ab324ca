"""A folder appears whole, replaces only with force, and leaves nothing behind after a failure."""

import pytest

from msam_nn.errors import UserError
from msam_nn.folders import new_folder


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
