"""Reads any ECG file as an `ECG`: format detection, safety checks, one reader per format, units, identifiers."""
