"""Networks to compare with."""
