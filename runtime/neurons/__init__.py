"""Neuron models: parameters and one time step, in place, for a whole population.

What a model is says ``model.Neuron``. A new one is a module like those here, a module with its ONNX
function in ``runtime/file`` and its line in the table ``runtime.file.neurons.NEURONS``.
"""

from .cuba import CubaParams
from .integrate_and_fire import NeuronParams
from .model import Coding, Neuron, State, counts, worth
from .paced import PacedParams
from .windowed import FewSpikeParams, TtfsParams, WindowedNeuron, windowed
from .winner_take_all import WinnerTakeAllParams

__all__ = [
    "Coding",
    "CubaParams",
    "FewSpikeParams",
    "Neuron",
    "NeuronParams",
    "PacedParams",
    "State",
    "TtfsParams",
    "WindowedNeuron",
    "WinnerTakeAllParams",
    "counts",
    "windowed",
    "worth",
]
