"""Avatars as web pages that draw their field in the reader's browser."""
