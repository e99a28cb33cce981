"""Configurations that come with the package: a file each, and their names; imports nothing."""

from typing import Final

PRESETS: Final = ("demo", "captures", "small", "desk", "paper", "released")
