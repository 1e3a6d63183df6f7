"""The command line. Only this package imports click, prints, and sets exit codes (and ``console``,
which is there before it): 0 done, 1 the answer is no, 2 bad use or bad input, 130 interrupted,
141 nobody read standard output to its end (as a shell has it of SIGPIPE)."""

from __future__ import annotations

import os
import sys
import warnings
from contextlib import ExitStack
from typing import Any, NoReturn

import click

from ..errors import Onnx2SnnError
from ..runtime.parallel import last_words
from ..runtime.parallel.stages import watched_by
from ..spelling import spelled_by
from . import progress, terminal
from .conversion import COMMANDS as CONVERSION
from .diagnosis import COMMANDS as DIAGNOSIS
from .finetuning import COMMANDS as FINETUNING
from .hardware import COMMANDS as HARDWARE
from .help import mistakes, verbs
from .help.spelling import as_typed
from .inspection import COMMANDS as INSPECTION
from .running import COMMANDS as RUNNING
from .sweeping import COMMANDS as SWEEPING
from .watching import COMMANDS as WATCHING

UNREAD = 141


class Cli(click.Group):
    """Turns every error of ours into one line and exit status 2, and every warning into a line."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        last_words.leave("")
        try:
            with ExitStack() as stack:
                stack.enter_context(warnings.catch_warnings())
                stack.enter_context(terminal.libraries_log_lines())
                stack.enter_context(spelled_by(as_typed(self.commands.values())))
                warnings.showwarning = terminal.warn
                return super().main(*args, **kwargs)
        except Onnx2SnnError as error:
            fail(error.code, text=str(error))
        except MemoryError as error:
            what = f"not enough memory ({error})" if str(error) else "not enough memory"
            fail("E900", text=f"{what}. Lower --mem-limit, --threads, --samples or -T.")
        except terminal.Interrupted:
            words = last_words.left()
            terminal.notice("interrupted" + (f": {words}" if words else ""))
            sys.exit(130)
        except terminal.Unread:  # as a signal would have it: nobody asks any more
            terminal.leave_unwritten()
            sys.exit(UNREAD)
        except terminal.UnwrittenError as error:
            terminal.leave_unwritten()
            fail(
                "E220", text=f"cannot write to standard output ({error}). Nothing else went wrong."
            )
        except Exception as error:
            if os.environ.get("ONNX2SNN_TRACEBACK"):
                raise
            what = f"{type(error).__name__}: {error}".replace("\n", " ")
            fail(
                "E999", text=f"{what}. This is a bug in onnx2snn; ONNX2SNN_TRACEBACK=1 shows where."
            )

    def make_context(
        self, info_name: str | None, args: list[str], *more: Any, **kwargs: Any
    ) -> click.Context:
        typed = list(args)  # parsing empties the list
        with mistakes.as_ours(), terminal.ends_that_click_renames():
            context = super().make_context(info_name, args, *more, **kwargs)
        context.meta[terminal.TYPED] = typed
        return context

    def list_commands(self, ctx: click.Context) -> list[str]:
        return verbs(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        with (
            mistakes.as_ours(),
            terminal.ends_that_click_renames(),
            progress.beating(ctx),
            watched_by(lambda text: progress.watch().stage(text)),
        ):
            return super().invoke(ctx)


def fail(code: str, *, text: str) -> NoReturn:
    """One line on standard error, and exit status 2."""
    terminal.notice(f"error {code}: {text}")
    sys.exit(2)


@click.group(cls=Cli, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="onnx2snn")
def main() -> None:
    """Convert trained ONNX networks to spiking networks, measure accuracy against time steps,
    and place them on neuromorphic chips."""


for command in (
    *CONVERSION,
    *FINETUNING,
    *SWEEPING,
    *RUNNING,
    *WATCHING,
    *DIAGNOSIS,
    *INSPECTION,
    *HARDWARE,
):
    main.add_command(command)
