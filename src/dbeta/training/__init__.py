"""Training: recipes, collation and masking, pretraining, fine-tuning."""
