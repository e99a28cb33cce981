"""What is written down of a run: its stages, their fingerprints, what each was made from, the memory that it takes."""
