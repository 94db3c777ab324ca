"""Seeded CT (and PET) phantoms with tumours, for demos and tests that need no patient data."""

from msam_nn.synthetic.dataset import write_dataset
from msam_nn.synthetic.phantom import PhantomOptions, generate_case

__all__ = ["PhantomOptions", "generate_case", "write_dataset"]
