import gzip
import json

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from msam_nn.errors import UserError
from msam_nn.inference.prompt_file import read_prompts
from msam_nn.inference.prompting.image import MOST_POINTS
from msam_nn.server.record import INITIAL_MASK
from msam_nn.server.session import InteractiveSession

from .bright_network import bright, inside, make_model
from .conftest import BALL, ROD, SHAPE


def opened(model, image, spacing=(1, 1, 1)):
    session = InteractiveSession(model)
    session.set_image(image[None], spacing)
    session.prepare()
    return session


def middle(box):
    return tuple((lower + upper) // 2 for lower, upper in box)


def test_a_click_segments_the_object_under_it_and_says_where(session):
    assert session.take_changes() is None
    assert session.add_point(middle(ROD), True)
    assert np.array_equal(session.mask, inside(SHAPE, ROD))
    changes = session.take_changes()
    assert changes.box == ROD and (changes.labels == 1).all()
    assert session.take_changes() is None
    assert session.timings[-1].what == "point" and session.timings[-1].seconds > 0


def test_without_following_objects_the_mask_ends_with_the_window(session):
    session.follow_objects = False
    session.add_point(middle(ROD), True)
    assert session.mask.sum() < inside(SHAPE, ROD).sum()


@pytest.mark.parametrize("voxel", [(-2, 3, 3), (3, 3, 42), (1e300, 0, 0)])
def test_clicks_outside_change_nothing(session, voxel):
    assert not session.add_point(voxel, True)
    assert session.take_changes() is None and not session.can_undo


def test_coordinates_are_rounded_and_the_border_is_generous(session):
    assert session.add_point((8.6, 6.4, -0.7), False)
    assert session.prompts().cases["image"]["organ"].points == ((9, 6, 0, 0),)


def test_a_click_inside_what_was_erased_brings_it_back(session):
    """But for the voxels that the network was clicked on for it, which hold, and what is corrected around them."""
    session.add_point(middle(ROD), True)
    half = (*ROD[:2], (ROD[2][0], middle(ROD)[2]))
    session.add_box(half, positive=False)
    erased = session.mask.copy()
    assert not erased[inside(SHAPE, half)].any()
    session.add_point(middle(half), True)
    assert session.mask[inside(SHAPE, half)].mean() > 0.9
    session.undo()
    assert np.array_equal(session.mask, erased)


def test_a_click_beside_what_was_erased_leaves_it_erased(session):
    half = (*ROD[:2], (ROD[2][0], middle(ROD)[2]))
    session.add_box(half, positive=False)
    session.add_point((*middle(ROD)[:2], ROD[2][1] - 1), True)
    assert np.array_equal(session.mask, inside(SHAPE, ROD) & ~inside(SHAPE, half))


def test_of_clicks_on_one_voxel_the_newest_is_told(session):
    for positive in (True, False):
        session.add_point((9, 6, 5), positive)
    session.add_point((9, 6, 6), True)
    session.set_class("tumour")
    session.add_point((9, 6, 6), True)
    assert session.prompts().cases["image"]["organ"].points == ((9, 6, 5, 0),)
    assert session.prompts().cases["image"]["tumour"].points == ((9, 6, 6, 1),)


def test_a_clicked_voxel_holds_where_the_network_says_otherwise(session):
    session.add_point((0, 0, 0), True)
    assert session.mask[0, 0, 0] and session.mask.sum() == 1
    session.add_point(middle(BALL), True)
    session.add_point(BALL[0][:1] + BALL[1][:1] + BALL[2][:1], False)  # takes the ball away, but not the clicked voxels
    assert session.mask[0, 0, 0] and session.mask[middle(BALL)] and session.mask.sum() == 2


def test_undo_and_redo_are_exact(session):
    states = [session.label_map.copy()]
    acts = [
        lambda: session.add_point(middle(ROD), True),
        lambda: session.add_box(((2, 8), (13, 20), (9, 17))),
        lambda: session.add_scribble(((0, 1), (0, 3), (0, 1)), np.ones((1, 3, 1), bool), True),
        lambda: session.add_lasso(((8, 9), (4, 10), (0, 10)), np.ones((1, 6, 10), bool), False),
        lambda: session.add_point(middle(BALL), False),
    ]
    for act in acts:
        assert act()
        states.append(session.label_map.copy())
    prompts = session.prompts_json()
    for state in reversed(states[:-1]):
        assert session.undo()
        assert np.array_equal(session.label_map, state)
    assert not session.undo() and not session.prompts().cases["image"]
    for state in states[1:]:
        assert session.redo()
        assert np.array_equal(session.label_map, state)
    assert not session.redo() and session.prompts_json() == prompts
    session.undo()
    session.add_point(middle(BALL), True)
    assert not session.can_redo


def test_changes_cover_everything_until_they_are_taken(session):
    seen = np.zeros(SHAPE, int)
    acts = [
        lambda: session.add_point(middle(ROD), True),
        lambda: session.add_point(middle(BALL), True),
        session.undo,
        lambda: session.add_lasso(((8, 9), (4, 10), (0, 10)), np.ones((1, 6, 10), bool), False),
        session.reset,
    ]
    for number, act in enumerate(acts):
        act()
        if number != 1:  # two steps at once
            changes = session.take_changes()
            seen[tuple(slice(*bounds) for bounds in changes.box)] = changes.labels
            assert np.array_equal(seen, session.label_map)


def test_send_all_starts_from_an_empty_copy(session):
    session.add_point(middle(BALL), True)
    session.take_changes()
    session.send_all()
    assert session.take_changes().box == BALL


def test_drawn_voxels_hold_whatever_comes_after(session):
    drawn = np.zeros((1, 8, 8), bool)
    drawn[0, range(8), range(8)] = True
    session.add_scribble(((1, 2), (0, 8), (0, 8)), drawn, True)
    session.add_point(middle(ROD), True)
    assert session.mask[1, range(8), range(8)].all() and session.mask[1].sum() == 8
    session.add_scribble(((1, 2), (0, 4), (0, 4)), drawn[:, :4, :4], False)  # the newest drawing counts
    assert session.mask[1].sum() == 4


def test_a_scribble_finds_the_objects_it_touches_and_is_clipped_to_the_image(session):
    drawn = np.zeros((1, 1, 60), bool)
    drawn[:, :, 12:40] = True  # over the image's border
    assert session.add_scribble(((9, 10), (6, 7), (0, 60)), drawn, True)
    assert np.array_equal(session.mask, inside(SHAPE, ROD, ((9, 10), (6, 7), (36, 40))))
    points = session.prompts().cases["image"]["organ"].points
    assert 3 <= len(points) <= MOST_POINTS and all(z == 9 and y == 6 for z, y, *_ in points)


@pytest.mark.parametrize("spacing", [(1, 1, 1), (1.5, 1, 1), (3, 2, 1)])
def test_a_drawing_in_one_slice_is_one_whatever_the_networks_slices_are(spacing, monkeypatch):
    """Resampled, a slice lies between two of the network's."""
    session = opened(make_model(spacing=(2, 1, 1)), bright(SHAPE, ROD), spacing)
    asked = []
    monkeypatch.setattr(session._segmentation.image, "add_drawing", lambda *drawing: asked.append(drawing))
    session.add_lasso(((9, 10), (5, 9), (2, 12)), np.ones((1, 4, 10), bool), True)
    session.add_scribble(((8, 12), (5, 9), (7, 8)), np.ones((4, 4, 1), bool), True)
    session.add_box(((8, 12), (5, 9), (2, 12)), positive=False)
    assert [through for *_, through in asked] == [0, 2, None]


def test_drawings_outside_or_of_nothing_change_nothing(session):
    assert not session.add_scribble(((50, 51), (0, 4), (0, 4)), np.ones((1, 4, 4), bool), True)
    assert not session.add_lasso(((5, 6), (0, 4), (0, 4)), np.zeros((1, 4, 4), bool), True)
    with pytest.raises(UserError, match="the drawing|The drawing"):
        session.add_lasso(((5, 6), (0, 4), (0, 4)), np.ones((1, 4, 5), bool), True)


def test_a_box_segments_inside_of_it_and_a_negative_one_takes_away(session):
    session.add_box(((8, 11), (5, 9), (2, 12)))
    assert np.array_equal(session.mask, inside(SHAPE, ((8, 11), (5, 9), (2, 12))))
    session.add_box(((0, 20), (0, 24), (0, 6)), positive=False)
    assert not session.mask[:, :, :6].any()


def test_a_flat_box_bounds_its_slice_and_is_kept_as_it_was_drawn(session):
    z = middle(BALL)[0]
    session.add_box([[z, z + 1], [19.2, 13.8], [9, 17]])  # floats, and corners swapped
    assert session.prompts().cases["image"]["organ"].boxes == ((z, z + 1, 14, 19, 9, 17),)
    assert np.array_equal(session.mask[z], inside(SHAPE, BALL)[z])
    assert session.mask.any((1, 2)).sum() > 1 and not session.mask[~inside(SHAPE, BALL)].any()


def test_boxes_outside_change_nothing(session):
    assert not session.add_box(((30, 40), (0, 4), (0, 4)))


def test_a_given_mask_stays_exact_where_the_network_does_not_change_its_mind():
    session = opened(make_model(spacing=(2, 2, 2)), bright(SHAPE, BALL))  # the network sees half the resolution
    mask = inside(SHAPE, ROD)
    mask[8, 5, 3::2] = False  # a fringe finer than the network's voxels
    session.set_initial_mask(mask)
    assert np.array_equal(session.mask, mask)
    assert not session.can_undo and not session.undo()
    session.add_point((1, 1, 1), True)
    assert session.mask[1, 1, 1]
    session.undo()
    assert np.array_equal(session.mask, mask)
    session.reset()
    assert not session.mask.any() and session.initial_mask is None


def test_prompts_correct_a_given_mask(session):
    session.set_initial_mask(inside(SHAPE, BALL))
    session.add_point(middle(ROD), True)
    assert np.array_equal(session.mask, inside(SHAPE, ROD, BALL))
    session.add_point(middle(BALL), False)
    assert np.array_equal(session.mask, inside(SHAPE, ROD))


def test_refining_follows_the_mask_without_a_point(session):
    assert not session.refine_mask()
    session.set_initial_mask(inside(SHAPE, ((9, 10), (6, 7), (4, 34))))
    assert session.refine_mask()
    assert session.mask[8:11, 5:9, 4:34].all() and not session.mask[~inside(SHAPE, ROD)].any()
    with pytest.raises(UserError, match="The mask has"):
        session.set_initial_mask(np.zeros((3, 3, 3), bool))


def test_a_network_that_corrects_around_clicks_refines_nothing_without_one(session, monkeypatch):
    session.set_initial_mask(inside(SHAPE, BALL))
    monkeypatch.setattr(session.model.predictor.promptable, "has_initial_masks", True)
    before = session.mask
    assert not session.refine_mask() and not session.can_undo and np.array_equal(session.mask, before)


def test_the_automatic_prediction_is_the_start_and_reset_goes_back_to_it(session):
    shares = []
    session.predict_automatically(shares.append)
    assert np.array_equal(session.mask, inside(SHAPE, ROD, BALL))
    assert shares == sorted(shares) and shares[-1] == 1 and len(shares) > 2
    assert session.status.state == "ready"
    session.add_point(middle(BALL), False)
    assert np.array_equal(session.mask, inside(SHAPE, ROD))
    session.reset()
    assert np.array_equal(session.mask, inside(SHAPE, ROD, BALL)) and not session.can_undo


def test_a_prediction_that_fails_says_why_and_leaves_everything_as_it_was(session, monkeypatch):
    session.add_point(middle(ROD), True)

    def fail(*_):
        raise RuntimeError("out of memory\nand more")

    with monkeypatch.context() as broken:
        broken.setattr(session.model.predictor, "predict_masks", fail)
        with pytest.raises(UserError, match=r"failed \(RuntimeError: out of memory\)\."):
            session.predict_automatically()
    assert session.status.state == "ready" and "out of memory" in session.status.message
    assert np.array_equal(session.mask, inside(SHAPE, ROD)) and session.can_undo
    session.predict_automatically()
    assert session.status.message == "" and np.array_equal(session.mask, inside(SHAPE, ROD, BALL))


@pytest.mark.parametrize("error", [MemoryError(), UserError("Mend it like this.")])
def test_a_prediction_that_fails_for_a_known_reason_says_what_to_do(session, monkeypatch, error):
    def fail(*_):
        raise error

    monkeypatch.setattr(session.model.predictor, "predict_masks", fail)
    sentence = str(error) or "There is not enough memory for that: close other sessions, or crop the image."
    with pytest.raises(UserError, match=f"^{sentence}$"):
        session.predict_automatically()
    assert session.status.message == sentence


def test_a_stopped_prediction_ends_early_and_leaves_no_trace(session):
    session.predict_automatically(lambda share: session.stop())
    assert session.status.state == "ready" and not session.mask.any()


def test_prompts_during_the_prediction_are_refused(session):
    def click(share):
        assert session.status.progress == share
        with pytest.raises(UserError, match="predicting"):
            session.add_point((1, 1, 1), True)

    session.predict_automatically(click)


def test_classes_are_kept_apart(session):
    session.add_point(middle(ROD), True)
    session.set_class("tumour")
    assert not session.mask.any()
    session.add_point(middle(BALL), True)
    assert np.array_equal(session.label_map == 1, inside(SHAPE, ROD))
    assert np.array_equal(session.label_map == 2, inside(SHAPE, BALL))
    session.add_point(middle(ROD), True)
    session.set_class("1")
    assert not session.mask[:, :, 14:26].any()  # a voxel has one label
    with pytest.raises(UserError, match="no class liver"):
        session.set_class("liver")


def test_regions_overlap():
    labels = {"background": 0, "whole": (1, 2), "core": 2}
    session = opened(make_model(labels, regions_class_order=(1, 2)), bright(SHAPE, BALL, ROD))
    session.add_point(middle(BALL), True)
    session.set_class("core")
    assert not session.mask.any()
    session.add_point(middle(BALL), True)
    assert np.array_equal(session.label_map == 2, inside(SHAPE, BALL))
    session.set_class("whole")
    assert np.array_equal(session.mask, inside(SHAPE, BALL))


def test_the_empty_margin_that_nnunet_crops_away_can_be_clicked(model):
    image = np.zeros(SHAPE, np.float32)
    image[4:, 4:, 4:] = bright(SHAPE, BALL)[4:, 4:, 4:]
    session = opened(model, image)
    assert session.add_point((0, 0, 0), True) and session.mask[0, 0, 0]
    assert not session.add_box(((0, 3), (0, 3), (0, 3)))
    assert session.add_scribble(((0, 8), (14, 15), (12, 13)), np.ones((8, 1, 1), bool), True)
    expected = inside(SHAPE, ((4, 7), (14, 19), (10, 16)), ((0, 8), (14, 15), (12, 13)))
    expected[0, 0, 0] = True
    assert np.array_equal(session.mask, expected)
    assert session.undo() and session.undo() and not session.mask.any()


def test_a_file_keeps_its_header_and_its_axes(model, tmp_path):
    affine = np.array([[0, -1.5, 0, 10], [2, 0, 0, -20], [0, 0, -1, 30], [0, 0, 0, 1.0]])
    voxels = bright(SHAPE[::-1], BALL[::-1])
    nibabel.save(nibabel.Nifti1Image(voxels, affine), tmp_path / "scan.nii.gz")
    session = InteractiveSession(model)
    session.open_files([tmp_path / "scan.nii.gz"], "scan")
    session.prepare()
    assert session.shape == SHAPE and session.name == "scan"
    session.add_point(middle(BALL), True)
    (tmp_path / "mask.nii.gz").write_bytes(session.segmentation_nifti())
    saved = nibabel.load(tmp_path / "mask.nii.gz")
    assert np.array_equal(saved.affine, affine) and saved.get_data_dtype() == np.uint8
    assert np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "mask.nii.gz"))), session.label_map)
    assert np.array_equal(np.asarray(saved.dataobj) == 1, inside(SHAPE[::-1], BALL[::-1]))


def test_the_prompts_are_a_file_for_msam_predict(session, tmp_path):
    session.add_point(middle(ROD), True)
    session.set_class("tumour")
    session.add_box(((3, 7), (14, 19), (10, 16)))
    (tmp_path / "prompts.json").write_text(session.prompts_json())
    read = read_prompts(tmp_path / "prompts.json")
    assert read.cases == session.prompts().cases
    assert json.loads(session.prompts_json())["image"]["tumour"] == {"boxes": [[3, 7, 14, 19, 10, 16]]}
    session.set_initial_mask(inside(SHAPE, BALL))
    assert session.prompts().cases["image"]["tumour"].mask.name == INITIAL_MASK


def test_a_viewers_mask_has_its_spacing(model):
    session = opened(model, bright(SHAPE, BALL), (3, 2, 1))
    image = nibabel.Nifti1Image.from_bytes(gzip.decompress(session.segmentation_nifti()))
    assert image.shape == SHAPE[::-1] and image.header.get_zooms() == (1, 2, 3)


def test_what_cannot_be_segmented_is_refused_with_a_sentence(model):
    session = InteractiveSession(model)
    for act in (session.prepare, session.undo, lambda: session.add_point((0, 0, 0), True)):
        with pytest.raises(UserError, match="no image"):
            act()
    with pytest.raises(UserError, match="2 channel.*takes 1"):
        session.set_image(np.ones((2, 4, 4, 4)))
    with pytest.raises(UserError, match="empty"):
        session.set_image(np.zeros((1, 4, 4, 4)))
    with pytest.raises(UserError, match="empty"):
        session.set_image(np.full((1, 4, 4, 4), np.nan))
    with pytest.raises(UserError, match=r"Only \(2, 4, 4\) voxels"):
        session.set_image(np.pad(np.ones((1, 2, 4, 4)), ((0, 0), (9, 9), (0, 0), (0, 0))), (0.2, 1, 1))
    with pytest.raises(UserError, match="is the spacing right"):
        session.set_image(np.ones((1, 64, 64, 64)), (100, 100, 100))
    with pytest.raises(UserError, match="is the spacing right"):
        session.set_image(np.ones((1, 64, 64, 64)), (1e-9, 1, 1))
    with pytest.raises(UserError, match="is the spacing right"):
        session.set_image(
            np.ones((1, 1, 1, 1 << 21), np.uint8), (1, 1, 1)
        )  # padded to windows it would be 512 times it


def test_a_failing_preparation_is_told_by_the_status(model, monkeypatch):
    session = InteractiveSession(model)
    session.set_image(np.ones((1, 8, 8, 8)))
    assert session.status.state == "preparing"
    with pytest.raises(UserError, match="not ready"):
        session.add_point((0, 0, 0), True)
    monkeypatch.setattr(type(model), "open_image", lambda *_: 1 / 0)
    with pytest.raises(UserError, match="could not be prepared"):
        session.prepare()
    assert session.status.state == "failed" and "division" in session.status.message
    with pytest.raises(UserError, match="could not be prepared"):
        session.add_point((0, 0, 0), True)


@pytest.mark.parametrize("spacing", [None, (0, 1, 1), (1, 1), (np.nan, 1, 1), (-1, 1, 1)])
def test_without_a_usable_spacing_the_training_s_is_taken(spacing):
    model = make_model(spacing=(3, 1, 2), transpose=(2, 0, 1))
    session = opened(model, bright(SHAPE, BALL), spacing)
    assert session._source.spacing == [1, 2, 3]
    session.add_point(middle(BALL), True)
    assert np.array_equal(session.mask, inside(SHAPE, BALL))


def test_voxels_that_are_no_numbers_count_as_zero(model):
    image = bright(SHAPE, BALL)
    image[0, 0, :3] = (np.nan, np.inf, -np.inf)
    session = opened(model, image)
    session.add_point(middle(BALL), True)
    assert np.array_equal(session.mask, inside(SHAPE, BALL))


@pytest.mark.parametrize("transpose", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
@pytest.mark.parametrize("spacing", [(1, 1, 1), (2, 1.5, 0.8), (6, 1, 1)])
def test_every_click_holds_on_the_viewers_grid(transpose, spacing):
    session = opened(make_model(spacing=spacing, transpose=transpose), bright(SHAPE, ROD, BALL), (1, 1.2, 0.9))
    for voxel in [(0, 0, 0), (19, 23, 39), (9, 6, 20), (5, 16, 12)]:
        session.add_point(voxel, True)
        assert session.mask[voxel]
        session.add_point(voxel, False)
        assert not session.mask[voxel]


def test_sessions_share_the_network_and_the_memory_of_features(model):
    first, second = (opened(model, bright(SHAPE, BALL)) for _ in range(2))
    assert first._segmentation.image.network is second._segmentation.image.network
    first.add_point(middle(BALL), True)
    second.add_point(middle(BALL), True)
    kept = len(model.predictor.cache.kept())
    first.close()
    assert len(model.predictor.cache.kept()) < kept
    assert np.array_equal(second.mask, inside(SHAPE, BALL))
    second.close()


def test_a_result_is_a_copy(session):
    assert session.result() is None
    session.add_point(middle(BALL), True)
    result = session.result()
    session.undo()
    assert np.array_equal(result.labels, inside(SHAPE, BALL)) and result.labels.dtype == np.uint8
