"""Planning MaskSAM: the planners, the rules by which they choose a network, and its memory."""
