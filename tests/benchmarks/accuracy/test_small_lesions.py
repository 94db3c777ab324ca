import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "benchmarks" / "accuracy"))

from small_lesions import DATASET, steps


def test_a_step_that_was_interrupted_is_not_taken_for_done(tmp_path):
    """After the phantoms the first plan's cases were being preprocessed, the last of which is 59."""
    (tmp_path / "raw" / DATASET).mkdir(parents=True)
    cases = tmp_path / "preprocessed" / DATASET / "MSAMPlans_3d_fullres"
    cases.mkdir(parents=True)
    (cases / "phantom_058.pkl").touch()
    assert [result.exists() for _, result in steps(tmp_path, 5)] == [True] + 7 * [False]
    (cases / "phantom_059.pkl").touch()
    assert [result.exists() for _, result in steps(tmp_path, 5)] == [True, True] + 6 * [False]


def test_one_minute_is_no_plural(tmp_path):
    assert any("-tr MSAMTrainer_1cpuminute " in command for command, _ in steps(tmp_path, 1))
