"""Wrong inputs as a hurried user gives them; each function breaks something and returns the command line."""

# Modules register their attempts in the order in which docs/robustness.md lists them.
from . import commands, models, outputs, prompts, images, weights, masksam, serving  # noqa: F401, I001
from .world import ATTEMPTS, MODEL_NAME, World

__all__ = ["ATTEMPTS", "MODEL_NAME", "World"]
