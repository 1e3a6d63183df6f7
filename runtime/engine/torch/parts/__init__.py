"""Copied, as text, into every module made of a network that uses them; never imported.

A signal is (batch, *shape). Every layer with a state is called with its input, the time step t
from 0 and the number of steps of a window; ``begin`` is the step in which the window of its input
begins, ``first`` the one of its own.
"""

FILES = ("basis", "neurons", "layers", "operations")  # in this order: classes derive from earlier
