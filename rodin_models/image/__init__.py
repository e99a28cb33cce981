"""Networks and measures of images: CLIP, refiner, perceptual distance, FID."""
