"""What can be said of a signal without a model: preprocessing, windows, quality, lead checks. Loads no torch."""
