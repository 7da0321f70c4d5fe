"""dbeta in other libraries: transformers and scikit-learn."""
