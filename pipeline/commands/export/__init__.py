"""``rodin-pipe export``: what it writes, a module a format."""
