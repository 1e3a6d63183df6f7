"""A network's integers, and how weights become such."""
