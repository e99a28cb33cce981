"""How photographs become planes: fits of one avatar, of many at once, and of a decoder with them."""
