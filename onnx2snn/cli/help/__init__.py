"""How help is laid out: verbs in the order of the work, an example first, options in groups.

Two tables: what every verb's example is, whose order is that of the listing, and in which group an
option stands, by its parameter. A verb or option without an entry is an error, which the tests
find.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import click

from ...converter.recipes import RECIPES
from ...converter.recipes.options import choosable
from ...runtime.plasticity import RULES

# In the order of the work.
EXAMPLES: Mapping[str, str] = {
    "demo": "onnx2snn demo",
    "check": "onnx2snn check net.onnx",
    "verify": "onnx2snn verify net.onnx",
    "convert": "onnx2snn convert net.onnx --calib data.npz:x_calib --recipe auto -o net.snn.onnx",
    "run": "onnx2snn run net.snn.onnx --data data.npz:x_test,y_test",
    "sweep": "onnx2snn sweep net.onnx --data data.npz:x_test,y_test --calib data.npz:x_calib "
    "-T 4,8,16,32 --convert-each -o out/",
    "init": "onnx2snn init net.onnx exp.toml --data data.npz:x_test,y_test",
    "finetune": "onnx2snn finetune net.snn.onnx --data train.npz:x,y -T 4 -o net2.snn.onnx",
    "learn": "onnx2snn learn net.snn.onnx --data new.npz:x,y --rule prototype -o net2.snn.onnx",
    "compare": "onnx2snn compare before/ after/ -o out/",
    "diagnose": "onnx2snn diagnose net.onnx net.snn.onnx --data data.npz:x_test,y_test",
    "watch": "onnx2snn watch net.snn.onnx --data data.npz:x_test,y_test -o watch.html",
    "place": "onnx2snn place net.snn.onnx --target all --data data.npz:x_test,y_test",
    "targets": "onnx2snn targets loihi2",
    "export": "onnx2snn export net.snn.onnx --to torch -o net.py",
    "import": "onnx2snn import net.nir -o net.snn.onnx",
    "ops": "onnx2snn ops",
    "explain": "onnx2snn explain agreement",
    "doctor": "onnx2snn doctor",
}
DATA, RECIPE, CHIP, ENGINE = "Data", "Recipe", "Chip", "Engine"
LEARNING = "Learning"
OUTPUT, ADVANCED = "Output", "Advanced"
BASIC = ("recipe", "steps", "lag", "copies", "maxpool", "islands", "encoding", "max_drop", "prefer")
# By parameter; what ``Options`` has besides ``BASIC`` is advanced.
GROUPS: Mapping[str, str] = {
    **dict.fromkeys(
        (
            "data", "calib", "calib_samples", "samples", "scale", "mean", "std", "layout",
            "input_shapes", "regression", "skip_unreadable", "random", "seed", "sample",
        ),
        DATA,
    ),
    **{f.name: ADVANCED for auto in (False, True) for f in choosable(auto=auto)},
    **dict.fromkeys((*BASIC, "recipes", "convert_each", "grid", "seeds"), RECIPE),
    **dict.fromkeys(("target", "targets", "pairs", "chips"), CHIP),
    **dict.fromkeys(
        (
            "rule", "at", "neurons", "passes", "settings", "train", "epochs", "rate", "batch",
            "patience", "decay", "average", "surrogate", "width", "detach", "match", "temperature",
            "spike_penalty", "spike_target", "hold_out", "augment",
        ),
        LEARNING,
    ),
    **dict.fromkeys(
        (
            "engine", "device", "threads", "tile", "block", "mem_limit", "events",
            "early_exit", "profile", "neurobench", "dtype", "seconds", "dry_run", "scheduler",
            "data_by",
        ),
        ENGINE,
    ),
    **dict.fromkeys(
        (
            "output", "force", "verbose", "as_json", "json_lines", "tagged", "allow_analog",
            "to", "inline", "approximate", "checkpoint",
        ),
        OUTPUT,
    ),
    **dict.fromkeys(("spiking_only", "hold_back", "dt"), ADVANCED),
}  # fmt: skip
ORDER = (DATA, CHIP, RECIPE, LEARNING, ENGINE, OUTPUT, ADVANCED)


class Verb(click.Command):
    """A command whose help begins with its example and lists its options in groups."""

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text(f"Example: {EXAMPLES[self.name or '']}")
        super().format_help_text(ctx, formatter)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        found: dict[str, list[tuple[str, str]]] = {title: [] for title in ORDER}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None and isinstance(param, click.Option):
                group = OUTPUT if "--help" in param.opts else GROUPS[param.name or ""]
                found[group].append(record)
        for title, records in found.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Where one chooses a recipe: what they are, and which chips run them. Where one chooses a
        learning rule: what they do, and their parameters."""
        if "rule" in {param.name for param in self.params}:
            for rule in RULES.values():
                settings = [
                    (f"{f.name}={f.default:g}", str(f.metadata["help"])) for f in fields(rule)
                ]
                with formatter.section(f"Rule {rule.name}, --set"):
                    formatter.write_text(f"{rule.summary}.")
                    formatter.write_dl(settings)
        if not {"recipe", "recipes"} & {param.name for param in self.params}:
            return
        rows = [(r.name, f"{r.summary}. Chips: {', '.join(r.chips)}.") for r in RECIPES.values()]
        auto = ("auto", "the one to begin with: tries the others, takes what most chips run within "
                "--max-drop (`convert` only)")  # fmt: skip
        with formatter.section("Recipes"):
            formatter.write_dl([auto, *rows])

    def get_short_help_str(self, limit: int = 45) -> str:
        """The first sentence, whole."""
        text = " ".join((self.help or "").split("\n\n")[0].split())
        return text.partition(". ")[0].rstrip(".")


def verbs(commands: Mapping[str, Any]) -> list[str]:
    """The names of ``commands``, in the order of the work."""
    order = list(EXAMPLES)
    return sorted(commands, key=order.index)
