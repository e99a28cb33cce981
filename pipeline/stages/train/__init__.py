"""The trained models: one loop, one recipe each."""
