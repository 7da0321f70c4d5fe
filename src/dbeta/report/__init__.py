"""Presentation of results: the 12-lead plot and console tables."""
