"""The work itself: one module a stage, each of which reads what the ones before published."""
