"""Shards of a run joined into one store; what was made in another way is refused by name."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from umd_engine.data.atomic import atomic_file
from umd_engine.errors import OptionError, StoreError
from umd_engine.evaluation.lock import only_writer
from umd_engine.evaluation.rows import Key, Row
from umd_engine.evaluation.run_folder import STORE
from umd_engine.evaluation.store import Store

SHOWN = 5


@dataclass(frozen=True)
class Merged:
    """What a merge stored: rows of every shard, and how many targets stood in more than one."""

    rows: tuple[int, ...]
    twice: int


def merge(runs: Sequence[Path], out: Path, wait: bool = False) -> Merged:
    """Join the stores of `runs` in a new one, with their plans, clicks, remembered files and subgroups.

    A result that stands in several shards is taken once; one that failed in some is taken from where it is finished.
    Masks stay where they are.

    Raises:
        OptionError: fewer than two runs, or `out` has a store. StoreError: a model with unlike plans (weights,
            protocol, precision, prompt, ...), or a result with unlike counts; they are named. MissingFileError.
    """
    if len(runs) < 2:
        raise OptionError("one run has nothing to be merged with", where="merge", mend="name two or more run folders")
    if (out / STORE).exists():
        raise OptionError("it has a store already", where=out, mend="name a new folder")
    shards = [Shard(run) for run in runs]
    refuse_unlike_plans(shards)
    owner, twice = owners(shards)
    with only_writer(out, wait), Store(out / STORE) as store:
        for shard in shards:
            for plan, text in shard.plans.items():
                store.add_plan(plan, text)
                with atomic_file(out / "plans" / f"{plan}.json") as file:
                    file.write(f"{text}\n".encode())
            store.group(shard.groups)
            own = [row for target, rows in shard.targets.items() if owner[target] is shard for row in rows]
            store.replace(own, [c for c in shard.clicks if owner[replace(c.key, step=0)] is shard], shard.files)
    return Merged(tuple(sum(map(len, shard.targets.values())) for shard in shards), twice)


class Shard:
    """One run's store, read whole. `targets`: a row's key at step 0 -> its steps."""

    def __init__(self, run: Path):
        self.run = run
        with Store(run / STORE, read_only=True) as store:
            self.plans, self.groups, self.files = store.plans(), store.groups(), store.files()
            self.clicks = list(store.clicks())
            self.targets: dict[Key, list[Row]] = defaultdict(list)
            for row in store.rows():
                self.targets[replace(row.key, step=0)].append(row)

    @property
    def models(self) -> dict[str, set[str]]:
        """Model -> the hashes of its plans."""
        found: dict[str, set[str]] = defaultdict(set)
        for target in self.targets:
            found[target.model].add(target.plan)
        return found

    def finished(self, target: Key) -> bool:
        return not self.targets[target][-1].failed


def refuse_unlike_plans(shards: Sequence[Shard]) -> None:
    """Shards that have a model have a plan of it in common.

    Raises:
        StoreError: it names the model, the runs, and what differs.
    """
    known: dict[str, dict[str, Shard]] = defaultdict(dict)  # model -> plan hash -> the first shard with it
    for shard in shards:
        for model, plans in sorted(shard.models.items()):
            if known[model] and not plans & known[model].keys():
                plan, other = next(iter(known[model].items()))
                texts = other.plans.get(plan, "{}"), shard.plans.get(min(plans), "{}")
                differing = "; ".join(differences(*map(json.loads, texts))) or f"plans {plan} and {min(plans)}"
                raise StoreError(
                    f"{model} was run in another way than in {other.run}: {differing}",
                    where=shard.run,
                    mend="merge shards of one run alone; `umd-engine compare` holds unlike ones against each other",
                )
            known[model] = dict.fromkeys(plans, shard) | known[model]


def differences(first: Mapping[str, Any], second: Mapping[str, Any], where: str = "") -> Iterator[str]:
    """What differs between two plans, by name: "weights: 12ab and 34cd", "protocol.mirroring: true and false"."""
    for name in sorted(first.keys() | second.keys()):
        left, right = first.get(name), second.get(name)
        if isinstance(left, Mapping) and isinstance(right, Mapping):
            yield from differences(left, right, f"{where}{name}.")
        elif left != right:
            yield f"{where}{name}: {json.dumps(left)} and {json.dumps(right)}"


def owners(shards: Sequence[Shard]) -> tuple[dict[Key, Shard], int]:
    """From which shard each target is taken, and how many stand in several.

    Raises:
        StoreError: a target that is finished in two shards with unlike rows.
    """
    found: dict[Key, Shard] = {}
    twice, unlike = set(), []
    for shard in shards:
        for target, rows in shard.targets.items():
            other = found.setdefault(target, shard)
            if other is shard:
                continue
            twice.add(target)
            if not other.finished(target):
                found[target] = shard
            elif shard.finished(target) and _counts(rows) != _counts(other.targets[target]):
                unlike.append(f"{target.model} {target.cohort}/{target.subject}/{target.scan_id} {target.organ}")
    if unlike:
        more = f" and {len(unlike) - SHOWN} more" if len(unlike) > SHOWN else ""
        raise StoreError(
            f"results that stand in several runs with unlike counts: {', '.join(unlike[:SHOWN])}{more}",
            mend="the scans' files changed in between: run the shards again on the same files",
        )
    return found, len(twice)


def _counts(rows: Sequence[Row]) -> list[Row]:
    """Rows without what may differ between two computations of the same."""
    return [replace(row, seconds=None, message="", note="", inputs="", synthetic=False, surfaces=None) for row in rows]
