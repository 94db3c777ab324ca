import nibabel
import numpy as np
import pytest

from msam_nn.errors import UserError
from msam_nn.image_files import insist_on_sound_images


@pytest.fixture
def image(tmp_path):
    """Writes a NIfTI file and returns its path."""

    def write(array=None, name="case_0000.nii.gz"):
        array = np.random.default_rng(0).normal(size=(8, 9, 10)).astype(np.float32) if array is None else array
        nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), tmp_path / name)
        return tmp_path / name

    return write


def test_sound_images_pass(image):
    insist_on_sound_images([image(), image(name="case_0001.nii")], 2)
    insist_on_sound_images([image(np.zeros((4, 4, 4, 1), np.int16))], 1)


@pytest.mark.parametrize("name", ["case_0000.nii", "case_0000.nii.gz"])
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_file_that_ends_early(image, name, share):
    file = image(name=name)
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    with pytest.raises(UserError, match="copy or export it again"):
        insist_on_sound_images([file], 1)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.full((4, 4, 4), np.nan, np.float32), "NaN or infinite"),
        (np.full((4, 4, 4), np.inf, np.float32), "NaN or infinite"),
        (np.zeros((4, 4, 4, 2), np.float32), "no 3D image"),
        (np.zeros((4, 4), np.float32), "no 3D image"),
    ],
)
def test_what_readers_pass_over(image, array, words):
    with pytest.raises(UserError, match=words):
        insist_on_sound_images([image(array)], 1)


def test_missing_files_and_channels(image, tmp_path):
    with pytest.raises(UserError, match="there is no file"):
        insist_on_sound_images([tmp_path / "none_0000.nii.gz"], 1)
    with pytest.raises(UserError, match="1 channel.s. and the model takes 2"):
        insist_on_sound_images([image()], 2)


def test_no_nifti_at_all(tmp_path):
    (tmp_path / "case_0000.nii.gz").write_text("not an image")
    with pytest.raises(UserError, match="no NIfTI"):
        insist_on_sound_images([tmp_path / "case_0000.nii.gz"], 1)
