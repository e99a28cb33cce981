"""``rodin-pipe studio``: a page on this machine where people make avatars, look at them and take them home."""
