"""Integrations with transformers and scikit-learn."""
