"""What any room may use: worker processes, whole files, fingerprints, the notice."""
