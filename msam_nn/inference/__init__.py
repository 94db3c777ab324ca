"""Prediction with prompts, on nnU-Net's predictor."""

from msam_nn.inference.prompted import PromptedPredictor

__all__ = ["PromptedPredictor"]
