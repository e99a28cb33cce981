"""What one command does to a run: survey, refusals, tasks, estimate, display."""
