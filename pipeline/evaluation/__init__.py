"""The large evaluation of a run's models: against people that nothing has learned from, beside what costs nothing."""
