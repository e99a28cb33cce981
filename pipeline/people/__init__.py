"""Who is drawn, with what chances, and how that is said in words."""
