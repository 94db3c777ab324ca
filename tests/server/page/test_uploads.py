import gzip
import os

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from msam_nn.errors import UserError
from msam_nn.server.page.uploads import Upload

IMAGE = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
NIFTI = nibabel.Nifti1Image(IMAGE, np.diag([1.0, 2.0, 3.0, 1.0])).to_bytes()
LIMIT = 1 << 20


@pytest.fixture
def upload():
    upload = Upload()
    yield upload
    upload.close()


def test_readers_find_the_channels_in_order(upload):
    upload.add(1, NIFTI, LIMIT)
    upload.add(0, gzip.compress(NIFTI), LIMIT)
    assert [file.name for file in upload.files] == ["image_0000.nii", "image_0001.nii"]
    for file in upload.files:
        image = sitk.ReadImage(str(file))
        assert np.array_equal(sitk.GetArrayFromImage(image), IMAGE.T)
        assert image.GetSpacing() == (1, 2, 3)
        assert np.array_equal(nibabel.load(file).dataobj, IMAGE)


def test_a_channel_sent_again_replaces_the_first(upload):
    upload.add(0, b"first", LIMIT)
    upload.add(0, b"second", LIMIT)
    assert [file.read_bytes() for file in upload.files] == [b"second"]


def test_nothing_stays():
    descriptors = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else None
    upload = Upload()
    upload.add(0, NIFTI, LIMIT)
    folder = upload.files[0].parent
    if descriptors is not None:
        assert upload.files[0].is_symlink(), "the bytes are on a disk"
    upload.close()
    assert not folder.exists()
    assert descriptors is None or len(os.listdir("/proc/self/fd")) == descriptors


def test_too_much_and_broken_files_are_refused(upload):
    assert upload.add(0, gzip.compress(bytes(LIMIT)), LIMIT) is None
    with pytest.raises(UserError, match="more than 1 MiB unpacked"):
        upload.add(1, gzip.compress(bytes(LIMIT + 1)), LIMIT)
    with pytest.raises(UserError, match="damaged"):
        upload.add(1, gzip.compress(NIFTI)[:-9], LIMIT)
    assert len(upload.files) == 1
