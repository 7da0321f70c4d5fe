"""Checks of untrusted files, one per format: they refuse what would harm a parser, before it runs."""
