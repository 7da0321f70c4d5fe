"""Signal processing without a model: preprocessing, windows, quality, lead checks. Does not import torch."""
