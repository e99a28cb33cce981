"""Weights that come with the package, if any: a model folder, made by ``rodin-pipe export models``. No code."""
