"""`sweeps measure`: what rows have kept, measured again under other conditions."""

from __future__ import annotations

import click
from rich.console import Console

from sweeps.commands.options import ray_options
from sweeps.reporting.terminal import interrupts


@click.command()
@click.argument("sweep")
@click.option(
    "--attack",
    "given",
    multiple=True,
    metavar="NAME|{SETTINGS}",
    help="An attack, or whatever the study measures under: a name, or a mapping in YAML as in a spec, which may "
    "have a `label`. Repeatable. Default: those asked for before.",
)
@click.option("--where", metavar="CONDITION", help="Only rows for which that holds, as pandas' query has it.")
@click.option("--name", metavar="NAME", help="Of the sweep that holds the measurements. Default: SWEEP-measured.")
@click.option("--retry-failed", is_flag=True, help="Also compute rows that failed before.")
@click.option("--study", metavar="STUDY", help="The study of SWEEP, where it is not installed: module:Class.")
@ray_options
@click.pass_obj
def measure(
    console: Console,
    sweep: str,
    given: tuple[str, ...],
    where: str | None,
    name: str | None,
    retry_failed: bool,
    study: str | None,
    address: str | None,
    cpus: int | None,
    gpus: int | None,
    max_concurrent: int | None,
) -> int:
    """Measure the models that rows of SWEEP have kept under further attacks; nothing is trained.

    \b
    sweeps measure runs/kept --attack '{name: pgd, steps: 50, label: pgd-50}'
    sweeps measure runs/kept --attack fgsm --attack '{epsilon: 8/255}' --where "ratio == 0.75"
    sweeps measure runs/kept                         what is missing of these, after a crash or Ctrl-C
    sweeps results runs/kept --measured              the rows
    sweeps analyze runs/kept-measured                tests at each attack

    What is not said of an attack is as in the sweep's own where it is that one, or where no name is given, and else the
    attack's default. Without a label it is called as it was written, such as `pgd steps=50`.

    Rows are those of a sweep beside SWEEP, SWEEP-measured, one for each model and attack, with the attack's label as a
    further key: SWEEP itself stays as it is, and all commands know the other as they know any sweep. What is there is
    not measured again, and further attacks are added to it.

    Exit status: 0 all rows present, 1 some failed, 2 an option is wrong, before anything is measured.
    """
    from sweeps import running
    from sweeps.reporting import reports
    from sweeps.results.measuring import asked_of

    asked = asked_of(sweep, given, where=where, name=name, study=study)
    for remark in asked.remarks:
        console.print(remark, markup=False, soft_wrap=True)
    with interrupts.heeded():
        after = running.run(
            asked.spec,
            asked.store,
            console,
            address=address,
            cpus=cpus,
            gpus=gpus,
            retry_failed=retry_failed,
            max_concurrent=max_concurrent,
        )
        reports.show(asked.spec, asked.store, after, console)
    return reports.exit_status(after)
