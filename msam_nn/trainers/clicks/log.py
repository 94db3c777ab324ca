"""nnU-Net's log and ``progress.png`` with one more curve: Dice after the last click."""

from __future__ import annotations

import os

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from nnunetv2.training.logging.nnunet_logger import LocalLogger

CLICK_DICE = "click_fg_dice"
"""Mean foreground pseudo Dice after the last click, an entry an epoch."""


class ClickLogger(LocalLogger):
    """Logs :data:`CLICK_DICE` beside nnU-Net's entries. It is a list like theirs, so checkpoints hold it."""

    def __init__(self, verbose: bool = False) -> None:
        super().__init__(verbose)
        self.my_fantastic_logging[CLICK_DICE] = []

    def plot_progress_png(self, output_folder: str) -> None:
        """Losses and Dice of the automatic prediction and after the last click, seconds an epoch, learning rate."""
        log = self.my_fantastic_logging
        epochs = range(min(map(len, log.values())))
        figure = Figure(figsize=(12, 15), layout="constrained")
        FigureCanvasAgg(figure)
        losses, seconds, rate = figure.subplots(3, 1, sharex=True)
        dice = losses.twinx()
        for axes, key, label, style in (
            (losses, "train_losses", "training loss", dict(color="tab:blue")),
            (losses, "val_losses", "validation loss", dict(color="tab:red")),
            (dice, "mean_fg_dice", "automatic", dict(color="tab:green", linestyle="dotted")),
            (dice, "ema_fg_dice", "automatic, moving average", dict(color="tab:green")),
            (dice, CLICK_DICE, "after the last click", dict(color="tab:purple")),
        ):
            axes.plot(epochs, log[key][: len(epochs)], label=label, marker=".", **style)
        losses.set_ylabel("loss")
        dice.set(ylabel="pseudo Dice", ylim=(0, 1))
        handles = [axes.get_legend_handles_labels() for axes in (losses, dice)]
        losses.legend(*(sum(parts, []) for parts in zip(*handles, strict=True)), loc="lower center", ncols=5,
                      fontsize=9, bbox_to_anchor=(0.5, 1))  # fmt: skip
        times = zip(log["epoch_start_timestamps"], log["epoch_end_timestamps"], strict=False)
        seconds.plot(epochs, [end - start for start, end in times][: len(epochs)], marker=".")
        seconds.set(ylabel="seconds an epoch", ylim=(0, None))
        rate.plot(epochs, log["lrs"][: len(epochs)], marker=".")
        rate.set(ylabel="learning rate", xlabel="epoch")
        figure.savefig(os.path.join(output_folder, "progress.png"), dpi=80)

    def load_checkpoint(self, checkpoint: dict) -> None:
        super().load_checkpoint({CLICK_DICE: [float("nan")] * len(checkpoint["mean_fg_dice"]), **checkpoint})
