"""Clicks for every nnU-Net."""
