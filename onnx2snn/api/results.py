"""What a result of this package can do: a line, a table, a dictionary, a data frame."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any, TypeAlias

from ..display import html_table, table
from ..errors import UsageError
from ..questions import Question

Rows: TypeAlias = tuple[Sequence[str], Sequence[Sequence[Any]]]  # header, and the rows under it


class Result(ABC):
    """Printed it is one line; a notebook shows its table."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """The JSON document of the command line: plain values, keys that do not change."""

    @abstractmethod
    def headline(self) -> str:
        """The answer in one line."""

    @abstractmethod
    def rows(self) -> Rows:
        """The header and rows of its data frame: numbers as they are."""

    def shown_rows(self) -> Rows:
        """Those of its table for people."""
        return self.rows()

    def to_dataframe(self) -> Any:
        """A pandas DataFrame of ``rows``. Raises UsageError (E102) without pandas."""
        return data_frame(self.rows())

    @abstractmethod
    def plot(self) -> Any:
        """Its chart as a matplotlib figure. Raises UsageError (E101) without matplotlib."""

    def summary(self) -> str:
        """The headline and the table, as text."""
        header, rows = self.shown_rows()
        return f"{self.headline()}\n\n{table(header, rows)}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.headline()})"

    def _repr_html_(self) -> str:
        header, rows = self.shown_rows()
        return html_table(self.headline(), header=header, rows=rows)


def data_frame(found: Rows) -> Any:
    """As a pandas DataFrame. Raises UsageError (E102) without pandas."""
    try:
        import pandas
    except ImportError as error:
        raise UsageError(
            "data frames need pandas",
            remedy="pip install 'onnx2snn[tables]'; `.to_dict()` does without.",
            code="E102",
        ) from error
    header, rows = found
    return pandas.DataFrame(rows, columns=list(header))


def told(
    document: dict[str, Any], *, said: Iterable[str] = (), asked: Iterable[Question] = ()
) -> dict[str, Any]:
    """``document`` with what was said of the data, and what is doubtful about them."""
    return document | {"read": list(said), "warnings": [asdict(question) for question in asked]}
