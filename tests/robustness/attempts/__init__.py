"""Wrong inputs as a hurried user gives them; each function breaks something and returns the command line."""

from . import commands, images, masksam, models, outputs, prompts, serving, weights  # noqa: F401  they register attempts
from .world import ATTEMPTS, MODEL_NAME, World

__all__ = ["ATTEMPTS", "MODEL_NAME", "World"]
