"""Blender as a process: a person as geometry, a scene, its photographs. Knows the contracts and numpy only."""
