"""The vocabulary, the stages and the command line of rodin-pipe."""

__version__ = "0.1.0"
