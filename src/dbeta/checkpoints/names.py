"""The files of a checkpoint folder, and the models that come with the package."""

#: Models that come with the package: the first is loaded where none is named; the second saw no patient's data.
BUNDLED = ("tiny", "tiny-sim")
WEIGHTS_FILE = "model.safetensors"
#: Embeddings of the reference panel, (n, D), unit length.
PANEL_FILE = "reference_panel.safetensors"
#: Embeddings of texts that are often asked for, (n, D), with the texts in the metadata.
TEXTS_FILE = "text_embeddings.safetensors"
