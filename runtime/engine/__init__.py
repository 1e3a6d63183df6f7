"""Simulates spiking graphs fast. This is its door: nothing else in this folder is for outside."""

from .early_exit import EarlyExit
from .events.choice import Events
from .products.models import synapse_models
from .profile import LayerProfile
from .simulator import SimulationResult, Simulator, simulate

__all__ = [
    "EarlyExit",
    "Events",
    "LayerProfile",
    "SimulationResult",
    "Simulator",
    "simulate",
    "synapse_models",
]
