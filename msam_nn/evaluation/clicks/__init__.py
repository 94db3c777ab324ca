"""Scores after simulated clicks."""
