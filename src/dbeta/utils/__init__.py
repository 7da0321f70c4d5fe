"""Helpers for all packages: worker processes, atomic files, fingerprints, the research-only notice."""
