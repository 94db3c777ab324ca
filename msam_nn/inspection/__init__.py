"""What looks at a data set and its plan; it measures no model."""
