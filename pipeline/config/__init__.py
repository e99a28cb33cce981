"""The configuration of a run: its records, its presets, and how it is read."""
