"""nnU-Net trainers for M-SAM; a variant overrides one thing of :class:`~msam_nn.trainers.msam.trainer.MSAMTrainer`."""
