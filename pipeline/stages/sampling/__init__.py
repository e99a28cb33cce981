"""Trained models together: latents and portraits to planes, planes to images."""
