"""Other people's weight files: reading them safely, and mapping their keys to ours."""
