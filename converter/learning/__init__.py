"""Plastic layers on converted networks: where they are put, how they learn, what is saved."""
