"""Diffusion: the process, its networks over rolled-out planes, and the three models."""
