"""Evaluation: conditions in words, benchmarks, metrics, zero-shot."""
