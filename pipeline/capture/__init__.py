"""Captures in place of renders: masks, where their world lies in ours, how they become shards; and portraits."""
