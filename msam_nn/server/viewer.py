"""What a viewer of nnInteractive's protocol has beyond its session: a buffer of its own, and prompts for later."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from msam_nn.server.images import ViewerImage
from msam_nn.server.label_buffer import Changes
from msam_nn.server.session import InteractiveSession

MOST_QUEUED = 64
"""Prompts that wait for a prediction; one more, and all of them are followed."""


@dataclass(frozen=True)
class Prediction:
    """What a viewer is told after a prompt: whether anything ran, and what changed in its buffer.

    block: the changed part of the mask, in the type of the viewer's buffer. seconds: how long it took.
    """

    ran: bool
    changes: Changes | None = None
    block: np.ndarray | None = None
    seconds: float = 0.0

    @property
    def meta(self) -> str:
        """As JSON, for the answer's header."""
        if self.changes is None:
            return json.dumps({"ran_prediction": self.ran, "bbox": None})
        box = [list(bounds) for bounds in self.changes.box]
        about = {"bbox": box, "dtype": self.block.dtype.name, "shape": list(self.block.shape)}
        return json.dumps({"ran_prediction": True, **about})


class Viewer:
    """A viewer's side of a session. Its methods run on the worker's thread."""

    def __init__(self, session: InteractiveSession) -> None:
        self.session = session
        self.dtype = np.dtype(np.uint8)
        self._queue: list[Callable[[], object]] = []

    def open(self, image: ViewerImage) -> None:
        """Take another image."""
        self._queue.clear()
        self.session.take(image)

    def forget(self) -> None:
        """Its buffer is empty, and nothing waits."""
        self._queue.clear()
        self.session.send_all()

    def prompt(self, act: Callable[[], object], run: bool) -> bool:
        """Follow a prompt, after those that wait; or let it wait, too. Returns whether anything ran."""
        self._queue.append(act)
        return self._run_queue() if run or len(self._queue) > MOST_QUEUED else False

    def predict(self, refine: bool) -> bool:
        """Follow what waits; with ``refine`` also refine the object all over."""
        ran = self._run_queue()
        return self.session.refine_mask() or ran if refine else ran

    def undo(self) -> bool:
        """Take back the last prompt, followed or waiting."""
        if self._queue:
            self._queue.pop()
            return True
        return self.session.undo()

    def answer(self, ran: bool, begun: float) -> Prediction:
        """With everything that changed since the last answer."""
        changes, seconds = self.session.take_changes(), time.perf_counter() - begun
        if changes is None:
            return Prediction(ran, seconds=seconds)
        return Prediction(True, changes, self.session.mask_of(changes.labels).astype(self.dtype), seconds)

    def _run_queue(self) -> bool:
        queue, self._queue = self._queue, []
        for act in queue:
            act()
        return bool(queue)
