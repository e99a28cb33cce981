"""What a run's pages show: its report, and the results of an evaluation at length."""
