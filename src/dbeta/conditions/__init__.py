"""Conditions in words: names, wordings, statements and benchmark labels. Loads no torch."""
