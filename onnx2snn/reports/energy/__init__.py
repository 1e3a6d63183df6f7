"""Energies in words: those of chips, and the verdict against the ANN."""
