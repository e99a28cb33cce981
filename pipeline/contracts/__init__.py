"""Records that cross a process, a file or a stage. They know pydantic and numpy only."""
