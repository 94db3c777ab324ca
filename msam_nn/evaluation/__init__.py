"""Measuring what a model does with and without prompts."""
