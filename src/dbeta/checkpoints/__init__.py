"""Checkpoint folders: reading, download from the hub, bundled models, conversion from and to the authors' layout."""
