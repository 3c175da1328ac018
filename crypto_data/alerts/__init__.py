"""Telling a person: what is wrong, what was said about it, and how it gets to its addresses."""
