"""What ``msam demo`` is made of."""
