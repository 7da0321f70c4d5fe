"""Any ECG file → ECG: detection, one reader per family of formats, units, identifiers, safety."""
