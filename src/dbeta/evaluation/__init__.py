"""Evaluation of models on benchmarks: zero-shot, probes, fine-tuning, retrieval, identification; reports."""
