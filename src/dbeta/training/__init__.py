"""Training: collation and masking, pretraining."""
