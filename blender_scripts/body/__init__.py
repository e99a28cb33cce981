"""The body from MakeHuman's data: shape, expression, skin, eyes, where its landmarks lie; numpy only."""
