"""Ray: sessions, the task graph, groups of workers, and how far they are."""
