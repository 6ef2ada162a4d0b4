"""A job on images: which pixels, and how results become files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from filterworks.batch.job import AnyInput, AnyJob, AnyOutput, Run, abridged
from filterworks.batch.tasks import Task
from filterworks.chains import Chain, Step, step
from filterworks.errors import ArgumentError
from filterworks.files import ARCHIVE_SUFFIXES, IMAGE_SUFFIXES, is_archive
from filterworks.filters.custom import load_kernel

Range = Literal["auto", "clip", "abs", "stretch", "offset"]
MAX_PIXELS = 300_000_000


def _bytes(value: object) -> object:
    """Return a size such as ``512MiB`` in bytes."""
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"\s*(\d+\.?\d*)\s*([kMGT]?)(i?)B?\s*", value)
    if match is None:
        raise ValueError("must be a size such as 512MiB or 2GB")
    base = 1024 if match[3] else 1000
    return int(float(match[1]) * base ** "_kMGT".index(match[2] or "_"))


class ImageRun(Run):
    """How to run."""

    memory: Annotated[int | None, BeforeValidator(_bytes)] = Field(default=None, ge=1)


class Input(AnyInput):
    """Where from: folders, files, globs."""

    kind: Literal["images"] = "images"
    max_pixels: int = Field(default=MAX_PIXELS, ge=1)
    volume: bool = False


class Output(AnyOutput):
    """Where to, and how results become files."""

    range: Range = "auto"
    quality: int = Field(default=95, ge=1, le=100)
    overviews: bool = False


class Job(AnyJob):
    """A frozen job on images."""

    NOUN: ClassVar[str] = "images"
    SUFFIXES: ClassVar[tuple[str, ...]] = (*IMAGE_SUFFIXES, *ARCHIVE_SUFFIXES)
    IN_PROCESSES: ClassVar[bool] = True

    input: Input
    output: Output
    run: ImageRun = Field(default_factory=ImageRun)

    @cached_property
    def chain(self) -> Chain:
        """The operations in order; kernels from files have become their weights."""
        return Chain(tuple(_step(table) for table in self.filter))

    @cached_property
    def _written(self) -> str:
        return str(self.chain)

    @cached_property
    def signature(self) -> str:
        """What decides the pixels of a result besides the input: recorded, compared on the next run."""
        how = f"range={self.output.range},quality={self.output.quality}"
        how += ",volume" * self.input.volume + ",overviews" * self.output.overviews
        return f"{abridged(str(self.chain))} > {how}"

    @property
    def recipe(self) -> dict[str, Any]:
        """The tables of a job that makes the same results; kernels from files have become their weights."""
        return {
            "input": {
                "kind": "images",
                "max_pixels": self.input.max_pixels,
                "volume": self.input.volume,
            },
            "filter": [{"name": one.name, **dict(one.parameters)} for one in self.chain.steps],
            "output": {
                "range": self.output.range,
                "quality": self.output.quality,
                "overviews": self.output.overviews,
            },
        }

    @classmethod
    def writes(cls, name: str) -> bool:
        """Return whether a result may have this suffix: archives are read only."""
        return cls.accepts(name) and not is_archive(name)

    @classmethod
    def result_of(cls, name: str) -> str:
        """Return what the result of an input is called: that of an archive is a folder."""
        return name[: -len(".zip")] if is_archive(name) else name

    @classmethod
    def filter_problem(cls, table: Mapping[str, Any], tables: Mapping[str, Any]) -> str | None:
        """Return what is wrong with one ``[[filter]]`` of a job."""
        try:
            section = tables.get("input")
            volume = isinstance(section, Mapping) and section.get("volume") is True
            Chain((_step(table),)).check(ndim=3 if volume else 2)
        except ArgumentError as error:
            return str(error)
        except (MemoryError, RecursionError):
            return f"{table.get('name')}: its window does not fit into memory"
        return None

    def task(self, *, is_drawn: bool, **common: Any) -> Task:
        """Return what a worker is given; `is_drawn`: it belongs to the share to be verified."""
        from filterworks.batch.images import ImageTask  # OpenCV is for those who filter images

        return ImageTask(
            **common,
            chain=self._written,
            range=self.output.range,
            quality=self.output.quality,
            max_pixels=self.input.max_pixels,
            memory=self.run.memory,
            volume=self.input.volume,
            overviews=self.output.overviews,
            verify=is_drawn,
        )


def _step(table: Mapping[str, Any]) -> Step:
    parameters = {key: value for key, value in table.items() if key != "name"}
    name = table.get("name")
    if not isinstance(name, str):
        raise ArgumentError('needs a name, as in name = "gaussian"')
    if name == "kernel" and "path" in parameters and "weights" not in parameters:
        parameters["weights"] = load_kernel(parameters.pop("path")).tolist()
    return step(name, parameters)
