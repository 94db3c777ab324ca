import pytest

from msam_nn.trainer_names import BudgetedName, nearest, parse


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("MSAMTrainer_1epoch", ("MSAMTrainer", 1, "epoch")),
        ("MSAMPaperTrainer_withoutMEA_200epochs", ("MSAMPaperTrainer_withoutMEA", 200, "epoch")),
        ("nnUNetTrainer_20minutes", ("nnUNetTrainer", 20, "minute")),
        ("SAMMed3DTrainer_5cpuminutes", ("SAMMed3DTrainer", 5, "cpuminute")),
    ],
)
def test_a_name_and_its_parts(name, parts):
    assert parse(name) == parts and str(BudgetedName(*parts)) == name


@pytest.mark.parametrize(
    "name",
    ["MSAMTrainer", "MSAMTrainer_epochs", "MSAMTrainer_0epochs", "MSAMTrainer_05minutes", "MSAMTrainer_1epochs",
     "MSAMTrainer_5epoch", "MSAMTrainer_5mintues", "MSAMTrainer_5Minutes", "MSAMTrainer_-5minutes", "_5minutes",
     "MSAMTrainer_99999999epochs", "MSAMTrainer_1.5minutes", ""],
)  # fmt: skip
def test_nothing_else_is_one(name):
    assert parse(name) is None


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("MSAMTrainer_5mintues", "MSAMTrainer_5minutes"),
        ("MSAMTrainer_0epochs", "MSAMTrainer_1epoch"),
        ("MSAMTrainer_1epochs", "MSAMTrainer_1epoch"),
        ("MSAMTrainer_05minutes", "MSAMTrainer_5minutes"),
        ("MSAMTrainer_10CPUminutes", "MSAMTrainer_10cpuminutes"),
        ("MSAMTrainer_99999999epochs", "MSAMTrainer_1000000epochs"),
    ],
)
def test_the_nearest_name(wrong, right):
    assert str(nearest(wrong)) == right


def test_no_name_is_near_what_has_no_budget():
    assert nearest("MSAMTrainer") is None and nearest("MSAMTrainer_3d") is None
