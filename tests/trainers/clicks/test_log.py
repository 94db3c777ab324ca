import numpy as np

from msam_nn.trainers.clicks.log import CLICK_DICE, ClickLogger

ENTRIES = ("mean_fg_dice", "ema_fg_dice", "train_losses", "val_losses", "lrs", "epoch_start_timestamps",
           "epoch_end_timestamps", CLICK_DICE)  # fmt: skip


def filled(epochs):
    logger = ClickLogger()
    for key in ENTRIES:
        for epoch in range(epochs):
            logger.log(key, 0.1 * epoch, epoch)
    for epoch in range(epochs):
        logger.log("dice_per_class_or_region", [0.5, 0.6], epoch)
    return logger


def test_the_picture_is_drawn_before_and_after_the_first_epoch(tmp_path):
    for epochs in (0, 3):
        filled(epochs).plot_progress_png(str(tmp_path))
        assert (tmp_path / "progress.png").stat().st_size > 5_000


def test_it_travels_with_checkpoints_and_reads_those_without_it():
    again = ClickLogger()
    again.load_checkpoint(filled(2).get_checkpoint())
    assert again.get_value(CLICK_DICE, step=None) == [0.0, 0.1]
    older = {key: values for key, values in filled(2).get_checkpoint().items() if key != CLICK_DICE}
    again.load_checkpoint(older)
    assert np.isnan(again.get_value(CLICK_DICE, step=None)).tolist() == [True, True]
    again.log(CLICK_DICE, 0.7, 2)
