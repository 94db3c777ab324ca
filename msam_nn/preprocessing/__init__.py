"""Self-configuration: planners, network design and normalisation schemes for nnU-Net."""
