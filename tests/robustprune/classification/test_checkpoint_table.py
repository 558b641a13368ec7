"""docs/checkpoints.md names models that exist, and normalisations as a spec may have them."""

from pathlib import Path

import pytest
import torch
import yaml

from robustprune.classification.networks import build
from robustprune.studies.classification.settings import Weights

PAGE = Path(__file__).parents[3] / "docs" / "checkpoints.md"


def rows() -> list[tuple[str, str, str]]:
    table = PAGE.read_text("utf-8").split("## Which settings for which file")[1].split("\n## ")[0]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table.splitlines() if "| `" in line]
    return [(file, model.strip("`"), normalisation.strip("` |")) for file, model, normalisation in cells]


def test_the_table_is_read() -> None:
    assert len(rows()) == 18
    assert sum("Wang2023Better_WRN-28-10" in file for file, _, _ in rows()) == 1


@pytest.mark.parametrize(("file", "model", "normalisation"), rows(), ids=lambda value: value[:30])
def test_every_line_can_be_written_into_a_spec(file: str, model: str, normalisation: str) -> None:
    with torch.device("meta"):
        build(model, classes=10, image_size=32)
    given = yaml.safe_load(normalisation)
    weights = Weights.model_validate({"file": file, "normalisation": given})
    assert weights.normalisation is not None
    assert all(0 < std <= 1 for std in weights.normalisation.std)


def test_the_example_is_a_spec() -> None:
    (example,) = [part.split("```")[0] for part in PAGE.read_text("utf-8").split("```yaml\n")[1:]]
    ((model, files),) = yaml.safe_load(example)["weights"].items()
    assert Weights.model_validate(files["adversarial"]).normalisation is not None
    with torch.device("meta"):
        build(model, classes=10, image_size=32)


def test_kuanglius_vgg_has_the_names_told() -> None:
    with torch.device("meta"):
        names = build("vgg19", classes=10, image_size=32).state_dict().keys()
    assert {"features.0.weight", "features.49.weight", "classifier.weight"} <= names
