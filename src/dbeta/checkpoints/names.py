"""File names of a checkpoint folder, and names of the bundled models."""

#: Models in the package. The first is the default; the second was trained on simulated ECGs only.
BUNDLED = ("tiny", "tiny-sim")
WEIGHTS_FILE = "model.safetensors"
#: Embeddings of the reference panel, (n, D), unit length.
PANEL_FILE = "reference_panel.safetensors"
#: Embeddings of common prompts, (n, D), with the texts in the metadata.
TEXTS_FILE = "text_embeddings.safetensors"
