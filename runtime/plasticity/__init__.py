"""Learning rules: parameters, and what one sample does to a plastic layer, in place.

What a rule is says ``rule.Rule``. A new one is a module like those here and its line in ``RULES``.
"""

from .frozen import frozen_layer, responses
from .prototype import PrototypeRule
from .rule import NO_LABEL, LayerState, LearningEvents, Rule, setting, with_settings
from .stdp import StdpRule

RULES: dict[str, type[Rule]] = {rule.name: rule for rule in (StdpRule, PrototypeRule)}

__all__ = [
    "NO_LABEL",
    "RULES",
    "LayerState",
    "LearningEvents",
    "PrototypeRule",
    "Rule",
    "StdpRule",
    "frozen_layer",
    "responses",
    "setting",
    "with_settings",
]
