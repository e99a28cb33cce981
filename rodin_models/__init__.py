"""Tri-plane fields, fits, diffusion and images in plain torch, for notebooks too; knows nothing of the pipeline."""
