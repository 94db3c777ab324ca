"""Prediction with prompts, on nnU-Net's predictor."""

from msam_nn.inference.prompted import PromptedPredictor
from msam_nn.inference.prompting.clicks import Click

__all__ = ["Click", "PromptedPredictor"]
