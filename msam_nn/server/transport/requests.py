"""What viewers send, as nnInteractive's protocol (version 2) has it."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError

from msam_nn.server.worker import Refused

Number = Annotated[float, Field(allow_inf_nan=False)]
Interval = tuple[Number, Number]
Intervals = tuple[Interval, Interval, Interval]


class Interaction(BaseModel):
    """What all prompts say. Nothing of ours depends on ``override_capability_checks``."""

    include_interaction: bool
    run_prediction: bool = True
    override_capability_checks: bool = False


class PointInteraction(Interaction):
    coordinates: tuple[Number, Number, Number]


class BoxInteraction(Interaction):
    """Half-open."""

    bbox_coords: Intervals


class DrawnInteraction(Interaction):
    """Scribble or lasso; without a box the mask has the image's shape."""

    interaction_bbox: Intervals | None = None


class InitialSegmentation(BaseModel):
    run_prediction: bool = False
    override_capability_checks: bool = False


class ImageMeta(BaseModel):
    image_properties: dict[str, Any] = {}

    @property
    def spacing(self) -> list[float] | None:
        """In mm, where three numbers are given."""
        spacing = self.image_properties.get("spacing")
        numbers = isinstance(spacing, list) and len(spacing) == 3 and all(isinstance(s, int | float) for s in spacing)
        return spacing if numbers else None


class TargetBuffer(BaseModel):
    shape: tuple[int, int, int]
    dtype: str = Field(max_length=32)


class Autozoom(BaseModel):
    do_autozoom: bool


class Predict(BaseModel):
    force_full_refine: bool = False


def read_meta(model: type[BaseModel], header: str | None, what: str) -> Any:
    """The JSON beside a body.

    Raises:
        Refused: if it is not what belongs there.
    """
    try:
        return model.model_validate_json(header if header is not None else "{}")
    except ValidationError as error:
        raise Refused(f"The header {what} is not what belongs there: {sentence_of(error.errors())}.") from error


def sentence_of(errors: list[dict]) -> str:
    """The first of pydantic's errors in words."""
    where = ".".join(str(part) for part in errors[0]["loc"] if part != "body")
    return f"{where}: {errors[0]['msg']}" if where else errors[0]["msg"]
