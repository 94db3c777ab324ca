"""What the page may ask of a session, as JSON."""

from __future__ import annotations

import base64
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, Field

from msam_nn.errors import UserError

Index = Annotated[int, Field(ge=-(2**31), lt=2**31)]
Interval = tuple[Index, Index]


class _Prompt(BaseModel):
    class_index: int = Field(alias="class", ge=0, lt=2**15)
    positive: bool


class PointPrompt(_Prompt):
    """voxel: ``(z, y, x)`` of the file."""

    kind: Literal["point"]
    voxel: tuple[Index, Index, Index]

    def add_to(self, session) -> bool:
        """Let a session follow it; False if there was nothing to do."""
        return session.add_point(self.voxel, self.positive)


class BoxPrompt(_Prompt):
    """box: voxels ``((z0, z1), (y0, y1), (x0, x1))``, upper bounds excluded."""

    kind: Literal["box"]
    box: tuple[Interval, Interval, Interval]

    def add_to(self, session) -> bool:
        return session.add_box(self.box, self.positive)


class DrawnPrompt(_Prompt):
    """What was painted, or lies inside a lasso: a box, and one bit for each of its voxels (base64)."""

    kind: Literal["scribble", "lasso"]
    box: tuple[Interval, Interval, Interval]
    mask: str

    def add_to(self, session) -> bool:
        add = session.add_scribble if self.kind == "scribble" else session.add_lasso
        return add(self.box, self._drawn(), self.positive)

    def _drawn(self) -> np.ndarray:
        shape = [upper - lower for lower, upper in self.box]
        try:
            bits = np.frombuffer(base64.b64decode(self.mask, validate=True), np.uint8)
        except ValueError as error:
            raise UserError("The drawing is no base64 text.") from error
        size = int(np.prod(shape, dtype=object))
        if min(shape) < 1 or len(bits) != -(-size // 8):
            raise UserError(f"The drawing has {len(bits)} bytes, which is not one bit for each voxel of {self.box}.")
        return np.unpackbits(bits, count=size).reshape(shape).astype(bool)


Prompt = Annotated[PointPrompt | BoxPrompt | DrawnPrompt, Field(discriminator="kind")]
