"""Files of a run: what is published, read and proved here and nowhere else."""
