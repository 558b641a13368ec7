"""What every returned object shares: it shows itself as the command line would, on a terminal and in a notebook."""

from __future__ import annotations

import io

from rich.console import Console
from rich.text import Text

WIDTH = 120
"""Columns of text where nothing has a width of its own."""

_HTML = '<pre style="white-space:pre;overflow-x:auto;line-height:normal;font-family:monospace">{code}</pre>'


class Shown:
    """An object that prints itself; a subclass says how in `show`."""

    def show(self, console: Console) -> None:
        """Print it."""
        raise NotImplementedError

    def __rich__(self) -> Text:
        """Return it for `rich.print`."""
        return Text.from_ansi(self._printed().export_text(styles=True))

    def __str__(self) -> str:
        """Return it as plain text."""
        return self._printed().export_text().rstrip("\n")

    def __repr__(self) -> str:
        """Return the same: it is what a prompt shows."""
        return str(self)

    def _repr_html_(self) -> str:
        """Return it for a notebook."""
        return self._printed().export_html(inline_styles=True, code_format=_HTML)

    def _printed(self) -> Console:
        console = Console(
            file=io.StringIO(), record=True, width=WIDTH, highlight=False, emoji=False, force_jupyter=False
        )
        self.show(console)
        return console
