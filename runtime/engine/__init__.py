"""Simulates spiking graphs. This is its door: nothing else in this folder is for outside."""

from .early_exit import EarlyExit
from .engines import ALIASES, DEFAULT, ENGINES, make_engine, simulate
from .fast.native import kernels
from .interface import Device, Engine, EngineOptions, SimulationResult, check_windows
from .profile import LayerProfile

__all__ = [
    "ALIASES",
    "DEFAULT",
    "ENGINES",
    "Device",
    "EarlyExit",
    "Engine",
    "EngineOptions",
    "LayerProfile",
    "SimulationResult",
    "check_windows",
    "kernels",
    "make_engine",
    "simulate",
]
