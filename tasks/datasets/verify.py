"""Looks at every file of a data set once and says what would spoil a training."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

from tasks.datasets.dataset import Dataset, DatasetItem
from tasks.datasets.examine import Findings, examine
from tasks.datasets.problems import Kind, Problem, SplitCounts, Verification


def verify_dataset(
    dataset: Dataset, *, scratch: Path, progress: Callable[[int, int], None] | None = None
) -> Verification:
    """Checks all items, streaming; memory grows with the number of items only.

    Args:
        dataset: What to look at.
        scratch: Folder for inflated volumes.
        progress: Called with items done and items in all.

    Returns:
        Problems (errors first, in the order of the items) and class frequencies per split.
    """
    found: list[Findings] = []
    for done, item in enumerate(dataset.items, 1):
        found.append(examine(dataset, item, scratch=scratch))
        if progress is not None:
            progress(done, len(dataset.items))
    problems = [problem for findings in found for problem in findings.problems]
    problems += _ids(dataset)
    problems += _channels(dataset, found)
    problems += _contents(found)
    problems += _classes(dataset, found)
    problems += _orphans(dataset)
    problems.sort(key=lambda p: p.severity != "error")
    return Verification(
        root=str(dataset.root),
        layout=dataset.layout,
        items=len(dataset.items),
        problems=tuple(problems),
        splits=_counts(dataset, found),
    )


def _ids(dataset: Dataset) -> list[Problem]:
    files: dict[str, list[str]] = defaultdict(list)
    for item in dataset.items:
        files[item.id].append(str(item.images[0]))
    return [
        _error(
            "duplicate id", id, paths[1], f"{' and '.join(paths)} have one id, {id!r}; rename all but one."
        )
        for id, paths in files.items()
        if len(paths) > 1
    ]


def _channels(dataset: Dataset, found: list[Findings]) -> list[Problem]:
    counts = Counter(f.channels for f in found if f.channels)
    wanted = len(dataset.channels) or (counts.most_common(1)[0][0] if counts else 0)
    said = "the data set names" if dataset.channels else "most images have"
    return [
        _error(
            "channel count",
            f.item.id,
            str(f.item.images[0]),
            f"{f.item.images[0]} has {f.channels} channels, {said} {wanted}; convert it, or correct 'channels' "
            "(grey pictures among coloured ones: 'grey': 'repeat').",
        )
        for f in found
        if f.channels and f.channels != wanted
    ]


def _contents(found: list[Findings]) -> list[Problem]:
    """Images that occur twice; across splits they make a score worthless."""
    first: dict[str, DatasetItem] = {}
    problems = []
    for f in found:
        if f.digest is None:
            continue
        other = first.setdefault(f.digest, f.item)
        if other is f.item:
            continue
        apart = other.split != f.item.split
        where = f" in split {f.item.split or 'none'} and {other.split or 'none'}" if apart else ""
        problems.append(
            Problem(
                severity="error" if apart else "warning",
                kind="duplicate content",
                item=f.item.id,
                file=str(f.item.images[0]),
                cause=f"{f.item.images[0]} and {other.images[0]} hold the same pixels{where}; remove one.",
            )
        )
    return problems


def _classes(dataset: Dataset, found: list[Findings]) -> list[Problem]:
    seen: Counter[int] = Counter()
    trained: Counter[int] = Counter()
    for f in found:
        seen.update(f.pixels)
        if f.item.split in ("train", None):
            trained.update(f.pixels)
    first = dataset.classes[0]
    looked = [f for f in found if f.looked and f.item.truth is not None]
    problems = []
    if looked and not any(code != first.code for code in seen):
        file = looked[0].item.truth
        cause = (
            f"all {len(looked)} masks, {file} first, hold nothing but {first.name!r}; check how they were exported."
            if seen
            else f"all {len(looked)} masks, {file} first, say nothing of any pixel; check how they were exported."
        )
        return [_error("all masks empty", None, str(file), cause)]
    if looked and not trained.keys() - {first.code} and any(f.item.split == "train" for f in found):
        return [_error("all masks empty", None, None, f"the train split holds nothing but {first.name!r}.")]
    for card in dataset.classes:
        if looked and not seen[card.code]:
            cause = f"no mask holds class {card.code} {card.name!r}; check its value, or take the class out."
        elif looked and not trained[card.code]:
            cause = f"no mask of the train split holds class {card.code} {card.name!r}; it cannot be learnt."
        else:
            continue
        problems.append(Problem(severity="warning", kind="class never seen", cause=cause))
    return problems


def _orphans(dataset: Dataset) -> list[Problem]:
    return [
        Problem(
            severity="warning",
            kind="truth without image",
            file=path,
            cause=f"{path} belongs to no image; check its name.",
        )
        for path in dataset.details.get("truth_without_image", ())
    ]


def _counts(dataset: Dataset, found: list[Findings]) -> dict[str, SplitCounts]:
    names = {card.code: card.name for card in dataset.classes}
    counts = {}
    for split in ("train", "val", "test", None):
        these = [f for f in found if f.item.split == split]
        if these:
            pixels = sum((f.pixels for f in these), Counter[int]())
            counts[split or "none"] = SplitCounts(
                items=len(these),
                pixels={name: pixels[code] for code, name in names.items()},
                ignored=sum(f.ignored for f in these),
            )
    return counts


def _error(kind: Kind, item: str | None, file: str | None, cause: str) -> Problem:
    return Problem(severity="error", kind=kind, item=item, file=file, cause=cause)
