"""`sweeps new`: a spec that fits the data a user has, with every field explained."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
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
@click.option("--force", is_flag=True, help="Replace files that are there.")
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
    ((option, source),) = given.items()
    if not source:
        raise SpecError(f"--{option}: found an empty text, expected {drafts()[option][2].help}")
    path = Path(file)
    if file == STDOUT:
        text, _ = drafted(option, source, changes, name=NAME, file=file, beside=None)
        click.echo(text, nl=False)
        return
    _check_free([path], force)
    beside = str(path.absolute().with_suffix(""))
    text, others = drafted(option, source, changes, name=sweep_name(path.stem), file=file, beside=beside)
    texts = {path.with_suffix(ending): other for ending, other in others.items()}
    if path in texts:
        raise SpecError(f"{path}: found a name that a file beside the spec is to have, expected one such as x.yaml")
    texts[path] = text
    _check_free(texts, force)
    for each, content in texts.items():
        try:
            each.write_text(content, encoding="utf-8")
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", error)
            raise SpecError(f"{each}: {why}, expected a file that can be written") from error
    written = " and ".join(map(str, reversed(texts)))
    console.print(
        f"{written}: written; `sweeps plan {shlex.quote(file)}` says what it computes and of which data",
        markup=False,
        soft_wrap=True,
    )


def _check_free(paths: Iterable[Path], force: bool) -> None:
    for path in paths:
        if path.is_dir():
            raise SpecError(f"{path}: found a folder, expected the name of a file")
        if path.exists() and not force:
            raise SpecError(f"{path}: found a file of that name, expected another name; --force replaces it")


def sweep_name(stem: str) -> str:
    """Return a name that a sweep can have, from that of its file.

    >>> sweep_name("my study"), sweep_name("-")
    ('my-study', 'my-study')
    """
    return re.sub(r"[^A-Za-z0-9._-]+", "-", stem).lstrip("._-") or NAME


def _named(given: dict[str, str]) -> str:
    return " and ".join(f"--{option}" for option in given) or "nothing"
