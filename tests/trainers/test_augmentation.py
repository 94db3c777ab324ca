from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from msam_nn.trainers.augmentation import flips_alone


def test_of_all_random_changes_the_flips_stay():
    full = nnUNetTrainer.get_training_transforms((16, 32, 32), (-0.5, 0.5), [[1.0] * 3], (0, 1, 2), False)
    names = [type(transform).__name__ for transform in full.transforms]
    plain = flips_alone(full).transforms
    spatial = plain[0]
    assert spatial.p_rotation == spatial.p_scaling == spatial.p_elastic_deform == 0
    assert not any(hasattr(transform, "apply_probability") for transform in plain)
    assert sum(isinstance(transform, MirrorTransform) for transform in plain) == 1
    kept = [type(transform).__name__ for transform in plain]
    assert "RemoveLabelTransform" in kept and kept == [name for name in names if name in kept]
