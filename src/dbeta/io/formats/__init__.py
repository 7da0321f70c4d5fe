"""The file formats: one reader each, from a file to its channels as they are, before leads and units are sorted out.

A new format is a function of (file, options) that returns a `Recording`, and a row in `dbeta.io.catalog.FORMATS`.
"""
