"""The report's page: its pictures, plots and style."""
