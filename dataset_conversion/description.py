"""What a script says about its data set; everything else is the same for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

Splits = Callable[[Path], list[dict[str, list[str]]]]


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A published data set, and what becomes of it in nnU-Net's raw layout.

    Patterns are regular expressions, searched in ``/`` + the path below the source (folders end with ``/``). Group 1
    is the case's key. What a pattern matches, without the leading slash, is the file's place for nnU-Net's converter.

    Attributes:
        name: ``DatasetNNN_Name``.
        layout: the files that are looked for, in words, for messages.
        images: a pattern for each channel.
        mask: the pattern of the masks.
        test_images: a pattern for each channel of cases without mask; empty: there are none.
        case_name: makes the case's name of its key.
        channels: names of the channels; nnU-Net chooses the normalisation by them.
        labels: as in ``dataset.json``; a tuple of values is a region.
        values: every value a published mask may hold, and the value stored for it.
        regions_class_order: needed with regions.
        reader: nnU-Net's reader class, where it cannot be left to nnU-Net.
        copy_geometry: masks of the right shape get the image's origin, spacing and direction instead of being broken.
        write_mask: nnU-Net's own function ``(source, target)`` for masks, which then maps ``values``.
        converter: nnU-Net's own converter, called as ``converter(source, target, num_workers)``.
        splits: called with the folder of the written masks, returns what goes into ``splits_final.json``.
        paper_splits: the same by the name of a paper whose split it is, to choose from with ``--split``.
    """

    name: str
    layout: str
    images: tuple[str, ...]
    mask: str
    test_images: tuple[str, ...] = ()
    case_name: str = "{}"
    channels: tuple[str, ...]
    labels: Mapping[str, int | tuple[int, ...]]
    values: Mapping[int, int]
    regions_class_order: tuple[int, ...] | None = None
    licence: str
    reference: str
    reader: str | None = None
    copy_geometry: bool = False
    write_mask: Callable[[str, str], None] | None = None
    converter: Callable[[Path, Path, int], None] | None = None
    splits: Splits | None = None
    paper_splits: Mapping[str, Splits] = field(default_factory=dict)


def same_values(labels: Mapping[str, int]) -> dict[int, int]:
    """``Dataset.values`` for masks that are stored as published."""
    return {value: value for value in labels.values()}


def tumour_only(dataset: Dataset, name: str, tumour: int) -> Dataset:
    """The same data with the published value ``tumour`` as their only label."""
    values = {value: int(value == tumour) for value in dataset.values}
    return replace(dataset, name=name, labels={"background": 0, "tumour": 1}, values=values)


def one_fold(
    masks: Path, published: Iterable[str], scored: Iterable[str], left_out: Iterable[str] = ()
) -> list[dict[str, list[str]]]:
    """A paper's split as a ``splits_final.json`` of one fold, by the beginnings of case names: ``scored`` cases are
    scored, those that are ``left_out`` are in neither part, all others train. Prints which ``published`` ones
    are missing.

    Arguments:
        masks: folder of the written masks.
    """
    published, scored, left_out = sorted(published), tuple(scored), tuple(left_out)
    cases = sorted(file.name.split(".")[0] for file in masks.iterdir())
    missing = [name for name in published if not any(case.startswith(name) for case in cases)]
    if missing:
        listed = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
        print(
            f"splits_final.json is not the paper's whole split: {len(missing)} of {len(published)} are not in the data "
            f"set ({listed}). To compare with the paper, complete the source folder and convert again with --force."
        )
    val = [case for case in cases if case.startswith(scored)]
    return [{"train": [c for c in cases if not c.startswith((*scored, *left_out))], "val": val}]
