"""Head to head."""
