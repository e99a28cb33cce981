"""Points, triangles, strands: what bodies, hair and clothes are made of; numpy only."""
