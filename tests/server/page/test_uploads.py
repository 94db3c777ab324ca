import gzip
import os

import nibabel
import numpy as np
import SimpleITK as sitk

from msam_nn.server.page.uploads import Upload

IMAGE = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
NIFTI = nibabel.Nifti1Image(IMAGE, np.diag([1.0, 2.0, 3.0, 1.0])).to_bytes()


def test_readers_find_the_channels_in_order():
    upload = Upload()
    upload.add(1, ".nii", NIFTI)
    upload.add(0, ".nii.gz", gzip.compress(NIFTI))
    assert [file.name for file in upload.files] == ["image_0000.nii.gz", "image_0001.nii"]
    for file in upload.files:
        image = sitk.ReadImage(str(file))
        assert np.array_equal(sitk.GetArrayFromImage(image), IMAGE.T)
        assert image.GetSpacing() == (1, 2, 3)
        assert np.array_equal(nibabel.load(file).dataobj, IMAGE)
    upload.close()


def test_a_channel_sent_again_replaces_the_first():
    upload = Upload()
    upload.add(0, ".nii.gz", b"first")
    upload.add(0, ".nii", b"second")
    assert [file.name for file in upload.files] == ["image_0000.nii"]
    assert upload.files[0].read_bytes() == b"second"
    upload.close()


def test_nothing_stays():
    upload = Upload()
    descriptors = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else None
    upload.add(0, ".nii", NIFTI)
    folder = upload.files[0].parent
    if descriptors is not None:
        assert upload.files[0].is_symlink(), "the bytes are on a disk"
    upload.close()
    assert not folder.exists()
    assert descriptors is None or len(os.listdir("/proc/self/fd")) == descriptors
