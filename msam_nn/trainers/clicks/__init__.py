"""Clicks in a training: when they are made, what is learned from them, and what is logged."""
