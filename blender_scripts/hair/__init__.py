"""Hair of the head and of the face as strands; numpy only."""
