import pytest
import torch

from msam_nn.trainers.clicks.sessions import ClickRecipe

ONLY_LONG = dict(p_automatic=0, p_long=1)
ONLY_ORDINARY = dict(p_automatic=0, p_long=0)


def draws(recipe, n=1, progress=1.0):
    generator = torch.Generator().manual_seed(0)
    options = dict(n_auto_stages=2, n_click_stages=3, progress=progress, generator=generator)
    return [recipe.draw(**options) for _ in range(n)]


def test_automatic_steps_have_automatic_stages_only_and_no_click():
    (session,) = draws(ClickRecipe(p_automatic=1))
    assert session.first_click == 2 and session.n_stages == 2 and len(session.silent) == 0


def test_kinds_of_steps_follow_their_probabilities():
    """0.5 automatic; of the rest 0.2 long."""
    sessions = draws(ClickRecipe(p_automatic=0.5, p_long=0.2), 4000)
    automatic = sum(s.n_stages == 2 for s in sessions) / 4000
    long = sum(len(s.silent) > 0 for s in sessions) / 4000
    assert (automatic, long) == pytest.approx((0.5, 0.1), abs=0.03)


def test_ordinary_steps_are_clicked_from_nothing_or_after_the_automatic_stages():
    sessions = draws(ClickRecipe(**ONLY_ORDINARY, p_from_nothing=0.2), 4000)
    assert all(s.n_stages == 5 and len(s.silent) == 0 for s in sessions)
    assert {s.first_click for s in sessions} == {0, 2}
    assert sum(s.first_click == 0 for s in sessions) / 4000 == pytest.approx(0.2, abs=0.03)


def test_long_sessions_learn_from_the_automatic_stages_and_the_last_clicks():
    sessions = draws(ClickRecipe(**ONLY_LONG, most_earlier=4), 200)
    assert {s.silent for s in sessions} == {range(2, 3), range(2, 4), range(2, 5), range(2, 6)}
    assert all(s.n_stages == s.silent.stop + 3 and s.first_click == 2 for s in sessions)


@pytest.mark.parametrize(("progress", "most"), [(0.0, 1), (0.5, 2), (1.0, 4)])
def test_sessions_get_longer_as_training_goes_on(progress, most):
    sessions = draws(ClickRecipe(**ONLY_LONG, most_earlier=4), 100, progress=progress)
    assert {len(s.silent) for s in sessions} == set(range(1, most + 1))


def test_the_generator_decides():
    recipe = ClickRecipe()
    assert draws(recipe, 20) == draws(recipe, 20)
