"""MaskSAM's trainer and its set prediction: targets, matching, losses."""
