"""One user's image, prompts and mask; no HTTP in here.

The segmentation is one label map as nnU-Net would write it, on the image's own grid; a viewer sees one class of it. All
coordinates are indices of the image array in its own axis order: ``(z, y, x)`` as SimpleITK reads for a file, whatever
order a viewer sent otherwise. Boxes are ``((z0, z1), (y0, y1), (x0, x1))``, upper bounds excluded.

>>> session = InteractiveSession(model)  # doctest: +SKIP
>>> session.open_files([Path("case_0000.nii.gz")], "case")  # doctest: +SKIP
>>> session.prepare()  # slow  # doctest: +SKIP
>>> session.predict_automatically()  # optional, slow  # doctest: +SKIP
>>> session.add_point((40, 31, 27), positive=True)  # doctest: +SKIP
>>> session.take_changes().box  # doctest: +SKIP

Threads: whoever calls takes care that one method runs at a time (:class:`~msam_nn.server.transport.leases.Lease` does),
and what runs the network runs on the worker's thread; ``status`` may be read, and :meth:`InteractiveSession.stop`
called, from anywhere.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from msam_nn.errors import UserError
from msam_nn.inference.geometry import ImageGeometry
from msam_nn.inference.output_grid import OutputGrid
from msam_nn.inference.prompt_file import PromptFile, prompts_text
from msam_nn.inference.prompting.image import MAX_WINDOWS
from msam_nn.inference.prompting.windows import Box, bounding_box, slices
from msam_nn.server.images import FileImage, SessionImage, ViewerImage
from msam_nn.server.label_buffer import Changes, LabelBuffer
from msam_nn.server.model import ServedModel
from msam_nn.server.placing import Placing
from msam_nn.server.record import Prompt, PromptLog, SessionResult
from msam_nn.server.segmentation import Drawn, Segmentation
from msam_nn.server.status import Status, Timing, sentence

KEPT_TIMINGS = 1000


class InteractiveSession:
    """An image that is segmented with prompts, on one model that many sessions share.

    Prompts outside the image change nothing and return False, as all of them do where there was nothing to do.
    Voxels that were clicked or drawn hold on the image's own grid.

    Arguments:
        class_index: the class that prompts refine first.

    Raises:
        UserError: all methods that need an image, where none is ready.
    """

    def __init__(self, model: ServedModel, class_index: int = 0) -> None:
        self.model = model
        self.class_index = class_index
        self.follow_objects = True
        """Whether an object is followed beyond the window around its prompt."""
        self.status = Status()
        self.timings: deque[Timing] = deque(maxlen=KEPT_TIMINGS)
        self._log = PromptLog()
        self._source: SessionImage | None = None
        self._buffer: LabelBuffer | None = None
        self._segmentation: Segmentation | None = None
        self._stopped = False

    # --- the image ----------------------------------------------------------------------------------------------------

    @property
    def version(self) -> int:
        """Grows with every change of the prompts."""
        return self._log.version

    @property
    def classes(self):
        """All classes of the model, see :class:`~msam_nn.server.model.TargetClass`."""
        return self.model.classes

    def set_class(self, name: str) -> None:
        """Choose the class that prompts refine from now on, by name or label number.

        Raises:
            UserError: if there is no such class.
        """
        self.class_index = self.model.class_index(name)

    def set_image(self, array: np.ndarray, spacing: Sequence[float] | None = None) -> None:
        """Take a viewer's array ``(C, X, Y, Z)``, without what came before; quick.

        Arguments:
            spacing: in mm in the array's order; without it, or where it is no spacing, that of the training.

        Raises:
            UserError: if the model cannot take the image.
        """
        self.take(ViewerImage(self.model, array, spacing))

    def open_files(self, files: Sequence[Path], name: str) -> None:
        """Take the files of a case, one per channel; quick: :meth:`prepare` reads the voxels.

        Raises:
            UserError: if they are no images that the model can take.
        """
        self.take(FileImage(self.model, files, name))

    def take(self, source: SessionImage) -> None:
        """Take an image, without what came before."""
        self.close()
        self._stopped = False
        self._log.clear()
        self._source = source
        self._buffer = LabelBuffer(source.shape, [c.members for c in self.classes])
        self.status = Status("preparing")

    def prepare(self) -> None:
        """Preprocess the image as the plans say; slow, and no network runs.

        Raises:
            UserError: if that is impossible; the status says so, too.
        """
        if self._source is None:
            raise UserError("There is no image: set one first.")
        try:
            image, properties = self.model.open_image(*self._source.read())
            predictor = self.model.predictor
            plans, configuration = predictor.plans_manager, predictor.configuration_manager
            order = plans.transpose_forward
            geometry = ImageGeometry.from_properties(properties, order, image.shape)
            spacing = [properties["spacing"][axis] for axis in order]
            grid = OutputGrid.of(geometry, configuration, spacing)
            self._placing = Placing(geometry, grid)
            self._segmentation = Segmentation(image, grid, self._buffer, predictor.label_manager)
        except Exception as error:
            self.status = Status("failed", message=sentence(error, "The image could not be prepared"))
            raise UserError(self.status.message) from error
        self.status = Status("ready", 1.0)

    def predict_automatically(self, on_progress: Callable[[float], None] | None = None) -> None:
        """Predict without prompts; all classes start from that, and what was prompted before is forgotten. Slow.

        Arguments:
            on_progress: called between windows with the share done, 0 to 1; ``status`` shows it, too.

        Raises:
            UserError: if it fails; the status says so, too, and everything is as it was before.
        """
        image = self._ready().image
        self.status = Status("predicting", 0.0)

        def between_windows(share: float) -> bool:
            self.status = replace(self.status, progress=share)
            if on_progress is not None:
                on_progress(share)
            self.model.give_way()
            return self._stopped

        start, message = time.perf_counter(), ""
        try:
            masks = self.model.predictor.predict_masks(image, between_windows)
            if masks is None:
                return
            self.status = replace(self.status, state="ready")
            image.start_from(masks)
            self.reset()
            self.timings.append(Timing("automatic", time.perf_counter() - start))
        except Exception as error:
            message = sentence(error, "The automatic prediction failed")
            raise UserError(message) from error
        finally:
            self.status = Status("ready", 1.0, message)

    def stop(self) -> None:
        """Let an automatic prediction end early; from any thread."""
        self._stopped = True

    def close(self) -> None:
        """Free all memory; the session is of no use after that."""
        if self._segmentation is not None:
            self._segmentation.image.forget_features()
        self._source = self._segmentation = self._buffer = None
        self.status = Status()

    # --- prompts ------------------------------------------------------------------------------------------------------

    def add_point(self, voxel: Sequence[float], positive: bool) -> bool:
        """A click inside the class or outside of it; coordinates are rounded."""
        image = self._ready().image
        voxel = self._placing.voxel(voxel)
        if voxel is None:
            return False
        clicks = self._placing.clicks([voxel], self.class_index, positive)
        drawn = Drawn(tuple((v, v + 1) for v in voxel), np.ones((1, 1, 1), bool), self.class_index, positive)
        self._follow("point", (lambda: image.add_points(clicks)) if clicks else None, drawn)
        self._log.add(Prompt(self._class.name, points=[(*voxel, int(positive))], network=bool(clicks)))
        return True

    def add_box(self, box: Sequence[Sequence[float]], positive: bool = True) -> bool:
        """The object of the class lies inside a box; one of one slice bounds it in that slice.

        A negative box takes everything inside it away, as a drawing does.
        """
        image = self._ready().image
        box = self._placing.clipped(box)
        if box is None:
            return False
        if not positive:
            return self.add_lasso(box, np.ones([upper - lower for lower, upper in box], bool), False)
        drawn = self._placing.network_box(box)
        if drawn is None:
            return False
        self._follow("box", lambda: image.add_box(self.class_index, drawn.box, drawn.through))
        self._log.add(Prompt(self._class.name, boxes=[tuple(bound for axis in box for bound in axis)]))
        return True

    def add_scribble(self, box: Sequence[Sequence[float]], drawn: np.ndarray, positive: bool) -> bool:
        """Painted voxels: bool of the size of a box, which may reach beyond the image."""
        return self._draw("scribble", box, drawn, positive)

    def add_lasso(self, box: Sequence[Sequence[float]], drawn: np.ndarray, positive: bool) -> bool:
        """The same for the voxels that a closed line encloses."""
        return self._draw("lasso", box, drawn, positive)

    def set_initial_mask(self, mask: np.ndarray) -> None:
        """Start the class from a bool mask of the image's shape; all prompts are forgotten, nothing can be undone.

        Raises:
            UserError: if the shape differs.
        """
        segmentation = self._ready()
        if mask.shape != self.shape:
            raise UserError(f"The mask has {mask.shape} voxels, the image {self.shape}.")
        self.reset()
        segmentation.start_class(self.class_index, mask)
        self._log.start_from(mask, self._class.name)

    def refine_mask(self) -> bool:
        """Refine the class all over its current mask, without a new prompt, where the model can."""
        segmentation, mask = self._ready(), self.mask
        if not self.model.refines_without_clicks:
            return False
        found = bounding_box(mask)
        seen = found and segmentation.grid.drawn(found, mask[slices(found)])
        if not seen:
            return False
        refine = segmentation.image.refine_mask
        self._follow("refine", lambda: refine(self.class_index, seen[0]))
        self._log.add(Prompt(self._class.name))
        return True

    # --- history ------------------------------------------------------------------------------------------------------

    @property
    def can_undo(self) -> bool:
        last = self._log.last
        return last is not None and self._segmentation.can_undo(last.network)

    @property
    def can_redo(self) -> bool:
        return self._log.can_redo

    def undo(self) -> bool:
        """Take the last prompt back, bit for bit."""
        segmentation = self._ready()
        if not self.can_undo:
            return False
        segmentation.undo(self._log.undo().network)
        return True

    def redo(self) -> bool:
        """Follow the last undone prompt again, bit for bit and without the network."""
        segmentation = self._ready()
        if not self.can_redo:
            return False
        segmentation.redo(self._log.redo().network)
        return True

    def reset(self) -> None:
        """Forget all prompts; the automatic prediction, if there is one, stays."""
        segmentation = self._ready()
        self._log.clear()
        segmentation.reset()

    # --- results ------------------------------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels of the image per axis."""
        if self._source is None:
            raise UserError("There is no image: set one first.")
        return self._source.shape

    @property
    def label_map(self) -> np.ndarray:
        """All classes on the image's own grid; a view."""
        return self._ready().labels

    @property
    def mask(self) -> np.ndarray:
        """Bool: the class that prompts refine, on the image's own grid."""
        return self.mask_of(self.label_map)

    def take_changes(self) -> Changes | None:
        """The labels of the box in which anything changed since the last call (or :meth:`send_all`); None for none."""
        return None if self._buffer is None else self._buffer.take_changes()

    def send_all(self) -> None:
        """The receiver of changes starts from an empty label map."""
        if self._buffer is not None:
            self._buffer.send_all()

    def send_again(self, changes: Changes) -> None:
        """Changes that were taken did not arrive: they come with the next ones."""
        self._buffer.send_again(changes.box)

    @property
    def initial_mask(self) -> np.ndarray | None:
        """What the session started from, bool on the image's own grid; None for nothing."""
        return self._log.initial_mask

    def mask_of(self, labels: np.ndarray) -> np.ndarray:
        """Bool: which of some labels belong to the class that prompts refine."""
        return np.logical_or.reduce([labels == label for label in self._class.members])

    def prompts(self) -> PromptFile:
        """All prompts that were not undone, as ``msam predict`` reads them.

        Drawings are points on them; the mask that the session started from is called
        :data:`~msam_nn.server.record.INITIAL_MASK`.
        """
        return self._log.file(self.name)

    def prompts_json(self) -> str:
        """The text of that prompt file."""
        return prompts_text(self.prompts(), Path())

    @property
    def name(self) -> str:
        """Of the case."""
        return "image" if self._source is None else self._source.name

    def result(self) -> SessionResult | None:
        """A copy of everything worth keeping; None where nothing was prompted."""
        if self._segmentation is None or self._log.is_empty:
            return None
        labels = self.label_map.astype(self._label_type)
        return SessionResult(self._source, labels, self.initial_mask, self.prompts(), self._log.began)

    def segmentation_nifti(self) -> bytes:
        """The label map as ``.nii.gz`` on the image's own grid, with its header where it came from a NIfTI."""
        labels = self.label_map.astype(self._label_type)
        return self._source.nifti(labels)

    # --- inside -------------------------------------------------------------------------------------------------------

    @property
    def _label_type(self) -> type:
        return np.uint8 if max(c.label for c in self.classes) < 256 else np.uint16

    @property
    def _class(self):
        return self.model.classes[self.class_index]

    def _ready(self) -> Segmentation:
        if self.status.state == "failed":
            raise UserError(self.status.message)
        if self.status.state in ("preparing", "predicting"):
            raise UserError(f"The image is not ready, it is {self.status.state}: wait a moment.")
        if self._segmentation is None:
            raise UserError("There is no image: set one first.")
        return self._segmentation

    def _follow(self, what: str, act: Callable[[], Box | None] | None, drawn: Drawn | None = None) -> None:
        """Let the network follow a prompt (None: it takes no part), then write what changed on the image's own grid."""
        start = time.perf_counter()
        self._segmentation.image.max_windows = MAX_WINDOWS if self.follow_objects else 1
        self._segmentation.follow(act, drawn)
        self.timings.append(Timing(what, time.perf_counter() - start))

    def _draw(self, what: str, box: Sequence[Sequence[float]], drawn: np.ndarray, positive: bool) -> bool:
        segmentation, placed = self._ready(), self._placing.drawing(box, drawn)
        if placed is None:
            return False
        box, drawn = placed
        image, there = segmentation.image, segmentation.grid.drawn(box, drawn)
        n_clicks = len(image.clicks)
        through = segmentation.grid.across(drawn.shape)
        act = there and (lambda: image.add_drawing(self.class_index, *there, positive, through))
        self._follow(what, act, Drawn(box, drawn, self.class_index, positive))
        points = self._placing.points_on(box, drawn, image.clicks[n_clicks:])
        self._log.add(Prompt(self._class.name, [(*v, int(positive)) for v in points], network=bool(there)))
        return True
