"""What tests share: a tiny run, a stand-in for Blender, commands, made-up ledgers."""
