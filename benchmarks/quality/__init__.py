"""What ``python -m benchmarks.fit_quality`` is made of: fits that are kept, what a decoder forgets, pictures."""
