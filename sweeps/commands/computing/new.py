"""`sweeps new`: a spec that fits the data a user has, with every field explained."""

from __future__ import annotations

import re
from pathlib import Path

import click
from rich.console import Console

from sweeps.errors import SpecError

STDOUT = "-"

NAME = "my-study"
"""Of a sweep whose file tells none."""


class _Drafting(click.Command):
    """Has an option per draft of a study, which are imported once this command is called, and not before."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Return the parameters, with an option for each draft."""
        from sweeps.reporting.terminal.drafted import drafts

        own = [*super().get_params(ctx)]
        options = [
            click.Option(
                [f"--{option}", option], metavar=draft.source, help=f"{draft.help[:1].upper()}{draft.help[1:]}."
            )
            for option, (_, _, draft) in drafts().items()
        ]
        return [*own[:1], *options, *own[1:]]


@click.command(cls=_Drafting)
@click.argument("file", metavar="FILE")
@click.option(
    "--set", "changes", multiple=True, metavar="KEY.PATH=VALUE", help="Settle a field; the others fit it. Repeatable."
)
@click.option("--force", is_flag=True, help="Replace FILE where it is there.")
@click.pass_obj
def new(console: Console, /, file: str, changes: tuple[str, ...], force: bool, **sources: str | None) -> None:
    """Write a spec to FILE that fits data of yours, and explains each of its fields; - prints it.

    \b
    sweeps new my-study.yaml --coco DIR
    sweeps plan my-study.yaml                # what it would compute, of which data, and what does not fit
    sweeps run my-study.yaml
    """
    from sweeps.reporting.terminal.drafted import drafted, drafts

    given = {option: source for option, source in sources.items() if source is not None}
    if len(given) != 1:
        names = ", ".join(f"--{option}" for option in drafts())
        raise SpecError(f"new: found {_named(given)}, expected one of {names}, which says what data there is")
    path = None if file == STDOUT else Path(file)
    if path is not None and path.exists() and not force:
        raise SpecError(f"{file}: found a file of that name, expected another name; --force replaces it")
    ((option, source),) = given.items()
    text = drafted(option, source, changes, name=NAME if path is None else sweep_name(path.stem), file=file)
    if path is None:
        click.echo(text, nl=False)
        return
    try:
        path.write_text(text, encoding="utf-8")
    except (OSError, ValueError) as error:
        raise SpecError(f"{file}: {getattr(error, 'strerror', error)}, expected a file that can be written") from error
    console.print(f"{file}: written; `sweeps plan {file}` says what it computes and of which data", soft_wrap=True)


def sweep_name(stem: str) -> str:
    """Return a name that a sweep can have, from that of its file.

    >>> sweep_name("my study"), sweep_name("-")
    ('my-study', 'my-study')
    """
    return re.sub(r"[^A-Za-z0-9._-]+", "-", stem).lstrip("._-") or NAME


def _named(given: dict[str, str]) -> str:
    return " and ".join(f"--{option}" for option in given) or "nothing"
