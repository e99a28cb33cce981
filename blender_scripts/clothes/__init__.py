"""Garments, hats, glasses, earrings; numpy only."""
