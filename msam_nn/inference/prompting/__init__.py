"""One image that prompts segment: windows of it, the stages in them, and the masks that come of it."""
