"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from sweeps.spec import numbers

MOST_CPUS = 4096
"""A Ray may have more CPUs than the machine, for trials that mostly wait; it starts a process for each."""


class NumberType(click.ParamType[float]):
    """A number, which may be written as a quotient, as in a spec: `1/3`."""

    name = "X or A/B"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number, or complain."""
        return float(click.FLOAT.convert(numbers.number(value), param, ctx))


def spec_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add what `run` and `plan` share: the spec, and where and how it is overlaid."""
    for decorate in (
        click.argument("spec_name", metavar="SPEC"),
        click.option("--storage", default="runs", show_default=True, help="A path, or a URI such as s3://bucket/runs."),
        click.option(
            "--set",
            "changes",
            multiple=True,
            metavar="KEY.PATH=VALUE",
            help="Change the spec; VALUE is YAML. Repeatable.",
        ),
        click.option("--retry-failed", is_flag=True, help="Also compute rows that failed before."),
        click.option(
            "--recompute",
            multiple=True,
            metavar="LABEL",
            help="Also compute results that other code than today's made, of what `plan` calls LABEL. Repeatable.",
        ),
    ):
        command = decorate(command)
    return command


def ray_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add what all commands that compute share: on which Ray, and on how much of it."""
    for decorate in reversed(
        (
            click.option("--address", help="A Ray cluster to join, or `auto`. Default: a private Ray on this machine."),
            click.option(
                "--cpus",
                type=click.IntRange(1, MOST_CPUS),
                help="CPUs of this machine for a private Ray. Default: those that this process may use.",
            ),
            click.option(
                "--gpus",
                type=click.IntRange(min=0),
                help="GPUs of this machine for a private Ray. Default: those that this process sees.",
            ),
            click.option("--max-concurrent", type=click.IntRange(min=1), help="At most this many trials at a time."),
        )
    ):
        command = decorate(command)
    return command


def all_rows_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add what all readers of a sweep's rows share."""
    return click.option(
        "--all-rows", is_flag=True, help="Also rows outside the sweep's present grid, of a larger one run before."
    )(command)


def test_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add what `analyze` and `power` share: which rows, which column, how they hang together, how to print."""
    for decorate in reversed(
        (
            click.argument("source", metavar="SWEEP_OR_FILE"),
            click.option("--metric", help="Column to compare. Default: the study's main metric, a file's only one."),
            click.option(
                "--design",
                type=click.Choice(["independent", "paired"]),
                help="Are trials of one seed blocks? Default: paired for a sweep, independent for a file.",
            ),
            click.option(
                "--classical/--welch",
                "classical",
                default=None,
                help="Of independent groups: one variance for all, or one each. Default: --welch; --classical for raw "
                "values of published means.",
            ),
            click.option(
                "--study", metavar="NAME", help="Of a file: it is of that study, whose axes it has or --axes says."
            ),
            all_rows_option,
            click.option("--axes", metavar="A,B,C", help="Of a file: its key columns; with --along and --replicate."),
            click.option(
                "--along",
                metavar="AXIS",
                help="At each of its values levels are tested: of --axes, or any axis of numbers of a sweep.",
            ),
            click.option("--replicate", metavar="AXIS", help="Of --axes: the one whose values repeat an experiment."),
            click.option(
                "--format", "form", type=click.Choice(["table", "csv", "json"]), default="table", show_default=True
            ),
        )
    ):
        command = decorate(command)
    return command
