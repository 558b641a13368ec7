"""`python -m robustprune evaluate`: one detector on COCO or KITTI, clean and attacked, without Ray; or detections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import torch
from click.core import ParameterSource

from robustprune.attacks import ATTACKS, AttackSettings, ZeroGradients, configured
from robustprune.cli.figures import PER_CLASS, class_figures, level_figures, precision_figures, show
from robustprune.cli.inputs import (
    KittiClassesType,
    SizeType,
    SplitFiles,
    UnitType,
    checked_size,
    open_detector,
    open_model,
    open_samples,
    open_split,
    read_split,
)
from robustprune.core.devices import device_name
from robustprune.core.errors import InputError
from robustprune.core.memory import reuse_freed_memory
from robustprune.core.progress import teller
from robustprune.core.timing import take_turns
from robustprune.detection.darknet.ends import ChosenFit, fit_of
from robustprune.detection.data.classes import read_names
from robustprune.detection.data.inspection import crowded, inspect
from robustprune.detection.detector import Detector
from robustprune.detection.image_size import ImageSize, in_words, sides
from robustprune.detection.measure.average_precision import average_precision
from robustprune.detection.measure.breakdown import breakdown
from robustprune.detection.measure.evaluation import (
    Evaluation,
    MarginSettings,
    Measured,
    evaluate,
    is_linf,
    margin_attack,
)
from robustprune.detection.measure.kitti_ap import KittiSettings, level_precisions
from robustprune.detection.measure.kitti_results import read_kitti_results
from robustprune.detection.measure.matching import MAX_DETECTIONS, matched_by_size
from robustprune.detection.measure.pruned import dense_engine, fastest_engine
from robustprune.detection.measure.results import check_writable, read_results, write_results
from robustprune.detection.task import DetectionTask
from robustprune.inference.cost import size
from robustprune.training import Objective

_SEEING_LOSS = [name for name, entry in ATTACKS.items() if entry.sees == "loss"]
_MORE = "--max-detections N lets more count"


@click.command("evaluate")
@click.option("--config", help="A Darknet .cfg, or the name of a bundled one.")
@click.option("--weights", help="The .weights that belong to it.")
@click.option("--model", help="In place of both: the .safetensors of a model that a sweep has kept.")
@click.option(
    "--results",
    "--detections",
    help="In place of these: detections to measure, COCO's results as JSON, or a folder of KITTI's result files.",
)
@click.option(
    "--save-results", help="Write the detections to this file, likewise; with --attack, FILE.attacked.json too."
)
@click.option("--coco", "root", help="Folder with annotations/instances_SPLIT.json and SPLIT/, or as tools export it.")
@click.option("--kitti", help="Folder with training/image_2/ and training/label_2/, in place of --coco.")
@click.option(
    "--kitti-classes",
    type=KittiClassesType(),
    help="What is to be found there. Default: what the detector knows by name; without names, Car.",
)
@click.option(
    "--split", help="Default: val2017. With --kitti a file that lists pictures, one a line; by default all are taken."
)
@click.option("--annotations", help="The annotation file, if it is elsewhere; --coco can be left out then.")
@click.option("--image-folder", help="The folder of its pictures, if it is elsewhere.")
@click.option(
    "--exif",
    type=click.Choice(["ignore", "apply"]),
    default="ignore",
    show_default=True,
    help="apply: turn pictures as their orientation tag says.",
)
@click.option(
    "--repeated-files",
    type=click.Choice(["refuse", "allow"]),
    default="refuse",
    show_default=True,
    help="allow: a file under two ids is two images, each with its own objects.",
)
@click.option(
    "--max-detections",
    type=click.IntRange(min=1),
    default=MAX_DETECTIONS,
    show_default=True,
    help="Detections of an image that count, the surest.",
)
@click.option(
    "--image-size",
    type=SizeType(),
    help="Of the network's images, a side or WIDTHxHEIGHT. Default: the .cfg's, or the model's.",
)
@click.option(
    "--fit",
    type=click.Choice(["letterbox", "stretch"]),
    help="How pictures are brought to that size. Default: as the engine does that the .cfg is of, or the model's.",
)
@click.option("--names", help="The detector's classes, in its order: a Darknet .names file, or NAME,NAME,...")
@click.option("--images", type=click.IntRange(min=1), help="Only the first so many images, by id.")
@click.option("--colour", type=click.Choice(["rgb", "greyscale"]), help="Default: rgb, or the model's.")
@click.option("--attack", type=click.Choice(_SEEING_LOSS), help="Measure under this attack too.")
@click.option("--epsilon", type=UnitType(), help="Radius of the attack in pixel values, such as 8/255. Default: 0.05.")
@click.option("--step-size", type=UnitType(), help="Length of a step. Default: 0.02 for pgd, 0.0625 for fgsm.")
@click.option("--steps", type=click.IntRange(min=1), help="Steps of pgd. Default: 5.")
@click.option("--restarts", type=click.IntRange(min=1), help="Random starts of pgd, the worst counts. Default: none.")
@click.option(
    "--margin-steps", type=click.IntRange(min=0), help="Steps of the margin attack. Default: 20; 0 does without."
)
@click.option("--seed", default=0, show_default=True, help="Of random starts.")
@click.option("--batch-size", type=click.IntRange(min=1), default=16, show_default=True)
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads. Default: one per core.")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
def evaluate_(
    config: str | None,
    weights: str | None,
    model: str | None,
    results: str | None,
    save_results: str | None,
    root: str | None,
    kitti: str | None,
    kitti_classes: Any,
    split: str | None,
    annotations: str | None,
    image_folder: str | None,
    exif: Any,
    repeated_files: Any,
    max_detections: int,
    image_size: ImageSize | None,
    fit: Any,
    names: str | None,
    images: int | None,
    colour: Any,
    attack: str | None,
    epsilon: float | None,
    step_size: float | None,
    steps: int | None,
    restarts: int | None,
    margin_steps: int | None,
    seed: int,
    batch_size: int,
    threads: int | None,
    form: str,
) -> None:
    """Measure one detector on COCO or KITTI: average precision, clean and attacked, and time per image.

    \b
    python -m robustprune evaluate --config yolov3-tiny.cfg --weights yolov3-tiny.weights \\
        --coco data/coco --image-size 416 --attack pgd --steps 10 --format json

    `ap`, `ap50` and `ap75` are COCO's on clean images: pycocotools, scores above 0.005, NMS per class at IoU 0.45, the
    best 100 of an image. `ap_adv` and so on are the same under the attack, which ascends the detector's training
    loss, and `zero_gradients` is the share of pixels that had no gradient to go by; `ap_adv_low` and `ap_adv_high` are
    a 95% interval, from samples of the images. `ap_adv_margin` and so on are under the margin attack, as far from the
    images, which ascends what costs precision most. No figure depends on the batch size, but for rounding.

    `ap_small` and so on are COCO's by size of the objects, `ar_1`, `ar_10` and `ar_100` the recall of so many
    detections of an image and class, and `per_class` has AP and recall of each class. Of what there is none, there is
    no figure. --results measures detections of any engine, with nothing but annotations.

    With --kitti, `ap_easy`, `ap_moderate` and `ap_hard` are KITTI's AP of 2D boxes at 40 recalls too, `_adv` the same
    under the attack, and `_ceiling` the most that so few objects let it be; `per_level` has them by class.

    `inference_ms` is the mean time of one image, a batch by itself, to raw outputs; the median and the 95th percentile
    are beside it. `engine` is how it was run, the fastest way found: all of it (dense), what pruning left (compact), or
    weight by weight (sparse).

    Pictures are brought to the size in the .cfg, or to another whose sides are multiples of the detector's stride: with
    grey around them (letterbox), as the original Darknet does, or pulled to it (stretch), as AlexeyAB's engine does
    unless its .cfg says letter_box=1; `fit` and `fit_reason` say which was taken, and why. A network of one channel
    sees them in grey.

    With --names the detector's classes are matched with the categories by name, old spellings of COCO's included; so
    are those of a kept model, which knows them. Without, its k-th class is taken for the k-th category by id, the
    order of all detectors trained on COCO, and that is said.

    Figures go to stdout, progress and errors to stderr. Exit status: 0, or 2 if a file or an option is wrong.
    """
    reuse_freed_memory()
    if threads is not None:
        torch.set_num_threads(threads)
    files = SplitFiles(
        root=root,
        kitti=kitti,
        kitti_classes=kitti_classes,
        split=split,
        annotations=annotations,
        images=image_folder,
        exif=exif,
        repeated_files=repeated_files,
    )
    if results is not None:
        _no_more_than_results(click.get_current_context())
        show(_of_results(files, results, images=images, limit=max_detections), form)
        return
    given = {"epsilon": epsilon, "step_size": step_size, "steps": steps, "restarts": restarts}
    settings = _attack_settings(attack, {name: value for name, value in given.items() if value is not None})
    if settings is None and margin_steps is not None:
        raise InputError("--margin-steps: expected --attack with it")
    if save_results is not None:
        check_writable(Path(save_results))
    classes = None if names is None else read_names(names.split(",") if "," in names else names, "--names")
    detector: Detector
    if model is not None and config is None and weights is None:
        detector, spec = open_model(model)
        count = len(spec.classes)
        classes, image_size, colour = classes or tuple(spec.classes), image_size or spec.size, colour or spec.colour
        own = ChosenFit(spec.fit, "the model was trained so")
    elif model is None and config is not None and weights is not None:
        detector = read = open_detector(config, weights)
        own, count = fit_of(read.sections), read.heads[0].classes
    else:
        raise InputError("expected --config and --weights, --model alone, or --results alone")
    chosen = own if fit is None else ChosenFit(fit, "--fit says so")
    colour = "greyscale" if detector.channels == 1 else colour or "rgb"
    size = checked_size(detector, image_size)
    (found,), remarks = open_split(files, classes=count, names=classes)
    samples = open_samples(found, detector, image_size=size, fit=chosen.fit, images=images, colour=colour)
    found = samples.split
    _say([*remarks, found.remark, *crowded(found, max_detections, setting=_MORE), *inspect([found])])
    zeros = ZeroGradients()
    under_attack = margin = None
    if settings is not None:
        generator = torch.Generator().manual_seed(seed)
        under_attack = zeros.watch(configured(settings, generator))
        more = MarginSettings().steps if margin_steps is None else margin_steps
        if more and is_linf(settings):
            margin = configured(margin_attack(settings, steps=more), generator)
    task = DetectionTask.of(detector, image_size=size)
    precision = evaluate(
        detector,
        samples,
        objective=Objective(task=task, attack=under_attack, clean_too=True),
        settings=Evaluation(batch_size=batch_size, max_detections=max_detections),
        margin=margin,
        tell=teller(len(samples), of="images"),
    )
    if save_results is not None:
        write_results(Path(save_results), samples.split, precision.clean_detections)
        if settings is not None:
            write_results(Path(f"{save_results}.attacked.json"), samples.split, precision.attacked_detections)
    figures = precision_figures(precision.clean, precision.clean_lines)
    if settings is not None:
        figures |= _under_attack(precision)
        figures |= {"zero_gradients": zeros.share, "attack": settings.name, **settings.model_dump(exclude={"name"})}
    figures |= _size_and_time(detector, size)
    figures |= {"images": len(samples), "image_size": size if isinstance(size, int) else in_words(size)}
    figures |= {"colour": colour, "fit": chosen.fit, "fit_reason": chosen.reason, "max_detections": max_detections}
    figures |= level_figures(samples.split, precision.clean_levels, precision.attacked_levels)
    figures[PER_CLASS] = class_figures(samples.split, precision.clean_lines, precision.attacked_lines)
    show(figures, form)


def _say(remarks: Sequence[str | None]) -> None:
    for remark in remarks:
        if remark is not None:
            click.echo(remark, err=True)


def _no_more_than_results(context: click.Context) -> None:
    """Complain about options that a measurement of given detections would ignore."""
    used = {"results", "root", "split", "annotations", "image_folder", "repeated_files", "images", "max_detections"}
    used |= {"threads", "form", "kitti", "kitti_classes"}
    for option in context.command.params:
        source = context.get_parameter_source(option.name or "")
        if option.name not in used and source == ParameterSource.COMMANDLINE:
            raise InputError(f"{option.opts[0]}: expected no such option beside --results, which needs no network")


def _of_results(files: SplitFiles, results: str, *, images: int | None, limit: int) -> dict[str, Any]:
    """Return the figures of the detections in a file."""
    whole = read_split(files, with_pictures=False)
    split = read_split(files, images=images, with_pictures=False)
    _say([split.remark, *crowded(split, limit, setting=_MORE)])
    measured = {*split.image_ids}
    read = read_kitti_results if Path(results).is_dir() else read_results
    found = [detections for detections in read(Path(results), whole) if detections.image_id in measured]
    by_size = matched_by_size(split, found, limit=limit)
    lines = breakdown(by_size)
    figures = precision_figures(average_precision(by_size["all"]), lines)
    figures |= level_figures(split, level_precisions(split, found, KittiSettings()))
    figures |= {"images": len(split), "max_detections": limit, "detections": sum(len(one.scores) for one in found)}
    return {**figures, PER_CLASS: class_figures(split, lines)}


def _under_attack(precision: Measured) -> dict[str, Any]:
    assert precision.attacked is not None
    assert precision.interval is not None
    figures = precision_figures(precision.attacked, precision.attacked_lines, suffix="_adv")
    for name, (low, high) in precision.interval._asdict().items():
        figures |= {f"{name}_adv_low": low, f"{name}_adv_high": high}
    if precision.margin is not None:
        figures |= {f"{name}_adv_margin": value for name, value in precision.margin._asdict().items()}
    return figures


def _attack_settings(name: str | None, given: Mapping[str, Any]) -> AttackSettings | None:
    """Return the settings of the attack called `name` with the options that were given, or complain about those."""
    model = None if name is None else ATTACKS[name].settings
    for option in given:
        if model is None or option not in model.model_fields:
            flag = "--" + option.replace("_", "-")
            raise InputError(f"{flag}: {f'{name} has no such setting' if name else 'expected --attack with it'}")
    if model is None:
        return None
    starts = {"random_start": True} if "restarts" in given else {}
    settings: AttackSettings = model.model_validate({"name": name, **given, **starts})  # type: ignore[assignment]
    return settings


def _size_and_time(detector: Detector, image_size: ImageSize) -> dict[str, Any]:
    device = next(detector.parameters()).device
    image = torch.rand(1, detector.channels, *sides(image_size)).to(device)
    engine, settings = fastest_engine(detector, image, dense=dense_engine(detector, image)), Evaluation()
    with torch.inference_mode():
        (timing,) = take_turns(
            [engine.on(image)], repeats=settings.timing_repeats, warm_up=settings.timing_warm_up, device=device
        )
    counts = size(detector, image)
    return {
        "inference_ms": timing.mean,
        "inference_ms_p50": timing.p50,
        "inference_ms_p95": timing.p95,
        "engine": engine.name,
        "params_total": counts.params,
        "macs_dense": counts.macs,
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "torch_version": str(torch.__version__),
    }
