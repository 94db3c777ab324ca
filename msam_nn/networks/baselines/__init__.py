"""Networks of other groups that no library has, written from their papers (nnFormer needs ``msam_nn[baselines]``)."""
