"""Photographs to planes: the shared decoder, each avatar's planes, fits with a decoder of their own."""
