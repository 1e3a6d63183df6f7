"""Worked examples of what can be added, each of them tested as if it were part of the product."""
