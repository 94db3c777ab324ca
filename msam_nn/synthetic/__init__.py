"""Seeded CT (and PET) phantoms with tumours, for demos and tests that need no patient data."""

from msam_nn.synthetic.anatomy import Tumours
from msam_nn.synthetic.dataset import write_dataset
from msam_nn.synthetic.phantom import SMALL_LESIONS, PhantomOptions, generate_case

__all__ = ["SMALL_LESIONS", "PhantomOptions", "Tumours", "generate_case", "write_dataset"]
