"""Readers of the file formats: each returns the channels as stored, before leads and units are standardised.

A new format is a function of (file, options) that returns a `Recording`, and a row in `dbeta.io.catalog.FORMATS`.
"""
