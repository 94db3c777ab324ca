"""``msam clicks`` on a trained model."""

import pandas as pd
import pytest

pytestmark = pytest.mark.slow
MODEL = ("-d", 900, "-tr", "MSAMTrainer_1epoch", "-p", "MSAMPlans", "-f", 0, "-device", "cpu")


def test_clicks_help_and_every_case_is_listed(run, trained, tmp_path):
    run("msam", "clicks", *MODEL, "-n", 0, 2, 5, "-o", tmp_path / "scores.csv")
    scores = pd.read_csv(tmp_path / "scores.csv")
    assert list(scores.columns) == ["case", "label", "clicks", "dice"]
    assert set(scores["label"]) == {"tumour", "organ"} and set(scores["clicks"]) == {0, 2, 5}
    means = scores.query("label == 'tumour'").groupby("clicks")["dice"].mean()
    assert means[5] > means[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("-d", 123), "no data set 123"),
        (("-f", 3), "no finished fold 3"),
        (("-n", -1), "from 0 on"),
    ],
)
def test_wrong_input_gets_one_sentence(run, trained, change, message):
    arguments = list(MODEL)
    if change[0] in arguments:
        arguments[arguments.index(change[0]) + 1] = change[1]
    else:
        arguments += change
    process = run("msam", "clicks", *arguments, check=False)
    assert process.returncode == 2
    assert message in process.stderr and "Traceback" not in process.stderr
