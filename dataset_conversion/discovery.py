"""Find the files of a data set by their published names, and put them together to cases."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dataset_conversion.description import Dataset


@dataclass(frozen=True)
class Found:
    """A file (or folder with a DICOM series), and the part of its path that the pattern matched."""

    path: Path
    place: str


@dataclass(frozen=True)
class Case:
    """The files of a case: an image for each channel, and the mask, which test cases lack."""

    name: str
    images: tuple[Found, ...]
    mask: Found | None

    @property
    def label(self) -> str:
        """The name in messages; training and test cases of the same name are not the same."""
        return self.name if self.mask else _test(self.name)


def _test(name: str) -> str:
    return f"{name} (test case)"


def find_cases(dataset: Dataset, source: Path, mask_source: Path | None = None) -> tuple[list[Case], dict[str, str]]:
    """All cases below ``source``, masks below ``mask_source`` if given, at any depth the patterns allow.

    Returns:
        the complete cases, and for every other case's name the reason why it cannot be used: a file is missing, or
        there is more than one file for the same place. Names that differ in upper and lower case only are the same.
    """
    paths = list(_walk(source))
    mask_paths = list(_walk(mask_source)) if mask_source else paths
    parts = [f"image ({channel})" for channel in dataset.channels]
    searches = [(part, p, paths) for part, p in zip(parts, dataset.images, strict=True)]
    training, problems = _assemble(dataset, [*searches, ("mask", dataset.mask, mask_paths)])
    test, test_problems = _assemble(dataset, [(s, p, paths) for s, p in zip(parts, dataset.test_images, strict=False)])
    cases = [Case(name, files[:-1], files[-1]) for name, files in training]
    cases += [Case(name, files, None) for name, files in test]
    return cases, problems | {_test(name): problem for name, problem in test_problems.items()}


def _walk(source: Path) -> Iterator[tuple[str, Path]]:
    """``/`` + relative path, and path, of everything that is not hidden; links to folders are followed, unless they
    lead back to a folder that they are in."""
    above = {str(source): {source.resolve()}}
    for folder, subfolders, files in os.walk(source, followlinks=True):
        entered = {name: Path(folder, name).resolve() for name in sorted(subfolders) if not name.startswith(".")}
        subfolders[:] = [name for name, real in entered.items() if real not in above[folder]]
        above |= {os.path.join(folder, name): above[folder] | {entered[name]} for name in subfolders}
        for name in subfolders + sorted(name for name in files if not name.startswith(".")):
            path = Path(folder, name)
            yield f"/{path.relative_to(source).as_posix()}" + "/" * (name in subfolders), path


def _assemble(
    dataset: Dataset, searches: Sequence[tuple[str, str, list[tuple[str, Path]]]]
) -> tuple[list[tuple[str, tuple[Found, ...]]], dict[str, str]]:
    """Group the found files by case, each once though links lead to it; ``searches`` holds (what it is, pattern, where
    to look)."""
    found: dict[str, dict[str, dict[Path, Found]]] = defaultdict(lambda: defaultdict(dict))
    names: dict[str, str] = {}
    for part, pattern, paths in searches:
        for relative, path in paths:
            if match := re.search(pattern, relative):
                name = dataset.case_name.format(match[1])
                names.setdefault(name.casefold(), name)
                found[name.casefold()][part].setdefault(path.resolve(), Found(path, match[0].lstrip("/")))
    complete, problems = [], {}
    for key, files in sorted(found.items()):
        missing = [part for part, _, _ in searches if part not in files]
        twice = [part for part, several in files.items() if len(several) > 1]
        if missing:
            problems[names[key]] = f"missing {' and '.join(missing)}"
        elif twice:
            several = ", ".join(str(f.path) for f in files[twice[0]].values())
            problems[names[key]] = f"duplicate case id, more than one {twice[0]}: {several}"
        else:
            complete.append((names[key], tuple(next(iter(files[part].values())) for part, _, _ in searches)))
    return complete, problems
