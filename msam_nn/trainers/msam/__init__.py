"""M-SAM's trainer; a variant overrides one thing of :class:`~msam_nn.trainers.msam.trainer.MSAMTrainer`."""
