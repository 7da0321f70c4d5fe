"""Conditions: names, wordings, statements and benchmark labels. Does not import torch."""
