from __future__ import annotations

from pathlib import Path

import pytest
from image_samples import Recode

from filterworks.files import open_image, write_image


@pytest.fixture
def recode(tmp_path: Path) -> Recode:
    """Read a file and write its pages, unchanged, with another name."""

    def run(path: Path, name: str | None = None, **options: int) -> Path:
        target = tmp_path / (name or f"copy{path.suffix}")
        with open_image(path) as image:
            write_image(target, image.pages(), image.info, **options)
        return target

    return run
