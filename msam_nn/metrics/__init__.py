"""Numbers from arrays: overlap, surface, lesions, statistics, the image-blind ellipsoid."""
