"""Inference: embeddings, findings and search, from a loaded checkpoint."""
