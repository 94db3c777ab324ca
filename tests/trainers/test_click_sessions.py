import pytest
import torch

from msam_nn.trainers.click_sessions import ClickRecipe


def draw(recipe, n=4, progress=1.0, seed=0, generator=None):
    generator = generator or torch.Generator().manual_seed(seed)
    return recipe.draw(n, n_auto_stages=2, n_click_stages=3, progress=progress, generator=generator)


def test_samples_of_ordinary_steps_follow_their_probabilities():
    session = draw(ClickRecipe(p_automatic=0.5, p_from_nothing=0.2, p_long=0), 4000)
    assert session[1:] == (5, 0)
    shares = [(session.first_click == stage).float().mean().item() for stage in (5, 0, 2)]
    assert shares == pytest.approx([0.5, 0.2, 0.3], abs=0.04)


def test_long_sessions_click_every_sample_and_learn_from_the_last_clicks():
    recipe, generator = ClickRecipe(p_long=1, most_earlier=4), torch.Generator().manual_seed(0)
    sessions = [draw(recipe, generator=generator) for _ in range(200)]
    assert {s.n_silent for s in sessions} == {3, 4, 5, 6}
    assert all(s.n_stages == s.n_silent + 3 and s.first_click.tolist() == [2] * 4 for s in sessions)


@pytest.mark.parametrize(("progress", "most"), [(0.0, 1), (0.5, 2), (1.0, 4)])
def test_sessions_get_longer_as_training_goes_on(progress, most):
    recipe, generator = ClickRecipe(p_long=1, most_earlier=4), torch.Generator().manual_seed(0)
    lengths = {draw(recipe, progress=progress, generator=generator).n_silent - 2 for _ in range(100)}
    assert lengths == set(range(1, most + 1))


def test_share_of_long_sessions():
    recipe, generator = ClickRecipe(p_long=0.25), torch.Generator().manual_seed(0)
    share = sum(draw(recipe, generator=generator).n_silent > 0 for _ in range(2000)) / 2000
    assert share == pytest.approx(0.25, abs=0.04)


def test_the_generator_decides():
    assert torch.equal(draw(ClickRecipe(p_long=0), 50, seed=1)[0], draw(ClickRecipe(p_long=0), 50, seed=1)[0])
