"""`umd-engine plan`: from a manifest, or the assumed cohort, and models to a forecast."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from umd_engine.data.manifest import ScanRow, read_manifest
from umd_engine.engine.memory import budget
from umd_engine.engine.profiles import Profile, this_machine
from umd_engine.errors import BackendError, MissingFileError, ModelError, OptionError, UmdEngineError
from umd_engine.evaluation.cases import Settings
from umd_engine.evaluation.forecast.costs import MOVED, Benched, Costs, Derived, Measured
from umd_engine.evaluation.forecast.forecast import MASK, ROW, Forecast, Setup, faults_of, forecast
from umd_engine.evaluation.forecast.measure import sampled
from umd_engine.evaluation.forecast.needs import need
from umd_engine.evaluation.forecast.scans import ASSUMED_SCANS, UMD, PlannedScan, planned, umd_scans
from umd_engine.evaluation.forecast.works import PlannedCase, planned_cases
from umd_engine.evaluation.loading import parse_requests
from umd_engine.models.catalog import Request
from umd_engine.models.model import Model, PromptedModel
from umd_engine.models.outline import OUTLINES, outline
from umd_engine.models.unloaded import stand_in

KEPT = 0.8  # of a device's memory for cases, where --memory says nothing; the rest for weights and calls
NO_WEIGHTS = "no checkpoint is given: its network is the published one, without weights"
Models = Sequence[Model | PromptedModel]


@dataclass(frozen=True)
class Told:
    """A forecast and what it rests on.

    Attributes:
        warnings: models whose largest case may not fit on the device.
    """

    forecast: Forecast
    device: str
    assumed: tuple[str, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Cohort:
    """Attributes:
    everything: the whole manifest's rows, for clicks that a subject's scans share. faults: unreadable scans.
    """

    name: str
    scans: Sequence[PlannedScan]
    everything: Sequence[ScanRow]
    faults: Sequence[tuple[ScanRow, UmdEngineError]]
    assumed: tuple[str, ...] = ()


def cohort_of(manifest: Path, modality: str | None = None, limit: int | None = None) -> Cohort:
    """A manifest's scans by their headers, or the assumed cohort for the name "umd" where no such file is.

    Raises:
        ManifestError, MissingFileError: the manifest cannot be read. OptionError: no scan is left.
    """
    if str(manifest) == UMD and not manifest.exists():
        scans = [scan for scan in umd_scans() if modality in (None, scan.row.modality)][:limit]
        return Cohort(UMD, scans, [scan.row for scan in scans], (), ASSUMED_SCANS)
    everything = read_manifest(manifest)
    rows = [row for row in everything if modality in (None, row.modality)][:limit]
    if not rows:
        raise OptionError("no scan is left to plan", where=manifest, mend="check --modality and the manifest")
    found, faults = planned(rows)
    return Cohort(manifest.name, found, everything, faults)


def models_of(texts: Sequence[str], settings: Sequence[str], trust: Sequence[Path] = ()) -> tuple[Models, list[str]]:
    """The models asked for, and the names of those without weights: a name alone whose checkpoint is not there.

    A model whose checkpoint cannot be loaded is an `UnloadedModel`.

    Raises:
        As `parse_requests`.
    """
    models: list[Model | PromptedModel] = []
    bare = []
    for text in texts:
        try:
            title = Request.parse(text).title
        except MissingFileError:
            name = text.partition("@")[0]
            if "=" in text or name not in OUTLINES:
                raise
            models.append(outline(name, text, _options(text, settings)))
            bare.append(text)
            continue
        ((request, options),) = parse_requests([text], _about(title, settings), trust).items()
        models.append(_load(request, options))
    titles = [model.name for model in models]
    if len(set(titles)) < len(titles):
        raise OptionError("two models have the same name", where="--model", mend="write NAME@ALIAS=PATH")
    if unused := set(settings).difference(*(_about(title, settings) for title in titles)):
        raise OptionError(f"'{min(unused)}' sets nothing", where="--set", mend="NAME.OPTION=VALUE of a --model")
    return models, bare


def _load(request: Request, options: Mapping[str, str]) -> Model | PromptedModel:
    try:
        return request.load(options)
    except ModelError as error:
        return stand_in(request, error, ())


def _about(title: str, settings: Sequence[str]) -> list[str]:
    return [text for text in settings if text.partition("=")[0].rpartition(".")[0] == title]


def _options(title: str, settings: Sequence[str]) -> dict[str, str]:
    pairs = (text.partition("=") for text in _about(title, settings))
    return {key.removeprefix(f"{title}."): value for key, _, value in pairs}


def plan(
    cohort: Cohort,
    models: Models,
    settings: Settings,
    profile: Profile | None = None,
    devices: Sequence[int] = (1,),
    measured: bool = False,
    bare: Sequence[str] = (),
    home: Path | None = None,
    benched: Mapping[str, Mapping[int, float]] | None = None,
) -> Told:
    """The forecast.

    Args:
        profile: of the device; None: this machine.
        measured: by sample runs on this machine; otherwise derived.
        home: the folder of stored samples.
        benched: unit name -> items -> seconds of a call, of this machine; they take the place of others.

    Raises:
        OptionError: measuring for another device, scans that are assumed, or models without weights; a GPU of this
            machine that is not measured.
    """
    if benched is not None and profile is not None:
        raise OptionError(
            f"a profile of this machine says nothing of {profile.name}", where="--costs", mend="leave --device out"
        )
    if profile is None and settings.device.type == "cuda" and not measured:
        raise OptionError(
            "what this machine's GPU can do is not known", where="--device", mend="add --measure, or name it, e.g. h200"
        )
    if settings.memory is None:
        free = budget(settings.device) if profile is None else int(KEPT * profile.memory)
        settings = replace(settings, memory=free)
    cases = planned_cases(cohort.scans, models, settings)
    assumed = list(cohort.assumed)
    where = profile or this_machine()
    cores, readers, live = where.cores, where.readers, 2 * where.readers
    if profile is None:
        readers, live = settings.readers, settings.max_live
    costs: Costs
    if measured:
        _check_measurable(profile, cohort, bare)
        samples = sampled(cases, settings, cohort.everything, home)
        costs = seen = Measured(samples, cores)
        cases = [_as_sampled(one, seen) for one in cases]
        device = f"this machine, {cores} cores: sample runs, measured"
        assumed += ["scans of other sizes take what a sample of their modality took, by voxels"]
    else:
        costs = Derived(where, settings.precision)
        device = f"{where.described(settings.precision)}: derived, not measured"
        assumed += [f"{where.name}: {where.source}", MOVED]
    if benched is not None:
        costs = Benched(benched, cores if settings.device.type == "cpu" else 0.0, costs)
        assumed += [f"{len(benched)} units take what umd-engine bench measured of them alone"]
    assumed += [f"{', '.join(bare)}: {NO_WEIGHTS}"] if bare else []
    assumed += [f"a row of the store takes {ROW} bytes, a voxel of a written mask {MASK} bytes"]
    assumed += [
        f"an engine a device: batches of {settings.batch_size}, {readers} readers, at most {live} cases live within "
        f"{(settings.memory or 0) / 1e9:.4g} GB; a scan's cases run on one engine; one writer"
    ]
    setup = Setup(settings, costs, devices, cores, readers, live)
    found = forecast(cases, setup, faults_of(cohort.faults, models))
    if found.every > 1:
        assumed.append(f"every {found.every}th scan by size is simulated, and its time taken {found.every} times")
    warnings = () if profile is None else tuple(_too_large(cases, settings, profile))
    return Told(found, device, tuple(assumed), warnings)


def _too_large(cases: Sequence[PlannedCase], settings: Settings, profile: Profile) -> Iterator[str]:
    """Of each model that may need more than the device has."""
    of_model: dict[str, list[PlannedCase]] = defaultdict(list)
    for one in cases:
        of_model[one.case.model.name].append(one)
    for name, mine in of_model.items():
        with suppress(BackendError):  # a file, whose calls are not known
            needed = need(mine, settings.batch_size, settings.precision).total
            if needed > profile.memory:
                yield (
                    f"{name} may need {needed / 1e9:.1f} GB at batch {settings.batch_size}, {profile.name} has "
                    f"{profile.memory / 1e9:g} GB; umd-engine bench --budget {profile.memory / 1e9:g}GB says what fits"
                )


def _as_sampled(case: PlannedCase, costs: Measured) -> PlannedCase:
    sample = costs.sample(case)
    return case.as_sampled(sample.items / sample.expected, sample.error)


def _check_measurable(profile: Profile | None, cohort: Cohort, bare: Sequence[str]) -> None:
    if profile is not None:
        raise OptionError(f"{profile.name} is not here to be measured", where="--measure", mend="leave --device out")
    if cohort.name == UMD:
        raise OptionError("assumed scans cannot be read", where="--measure", mend="give a manifest")
    if bare:
        raise OptionError(f"{', '.join(bare)} cannot run", where="--measure", mend="give --model NAME=CHECKPOINT")
