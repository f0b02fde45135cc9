"""Networks as plain data: a builder that emits graphs, and the NumPy twin of every op."""
