"""A folder in KITTI's format, as small as can be: pictures of noise, and label files as they are given."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

CAR = "Car 0.00 0 1.55 10.00 5.00 30.00 25.00 1.57 1.73 4.15 1.00 1.75 13.22 1.62"
VAN = "Van 0.00 1 1.55 32.00 5.00 52.50 25.00 2.50 2.20 5.78 1.00 1.75 13.22 1.62"
PEDESTRIAN = "Pedestrian 0.20 2 -0.20 50.00 4.00 60.00 36.00 1.89 0.48 1.20 1.84 1.47 8.41 0.01"
DONT_CARE = "DontCare -1 -1 -10 90.00 10.00 110.00 20.00 -1 -1 -1 -1000 -1000 -1000 -10"


def write_kitti(root: Path, labels: Mapping[str, Sequence[str]], *, size: tuple[int, int] = (124, 37)) -> Path:
    """Write a picture and a label file for each name, of these lines, and return the root."""
    for name in ("image_2", "label_2"):
        (root / "training" / name).mkdir(parents=True, exist_ok=True)
    for number, (stem, lines) in enumerate(labels.items()):
        pixels = np.random.default_rng(number).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / "training" / "image_2" / f"{stem}.png")
        (root / "training" / "label_2" / f"{stem}.txt").write_text("".join(f"{line}\n" for line in lines))
    return root
