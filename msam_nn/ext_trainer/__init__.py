"""A folder for ``nnUNet_extTrainer``, nnU-Net's own way to trainers outside its package; see ``msam_trainers.py``."""
