"""Checkpoints: reading, the hub, bundled models, and the layout of the published code."""
