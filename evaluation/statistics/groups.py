"""Subgroups of a cohort's subjects, by what the manifest says of their scans."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

AGE = "age"
BANDS = (18, 40, 60, 80)  # years that a band begins with
NOT_GIVEN = "not given"

Groups = Mapping[tuple[str, str, str], Mapping[str, str]]  # (cohort, subject, scan_id) -> {"sex": "F", ...}


def subgroups(groups: Groups, cohort: str, subjects: tuple[str, ...]) -> dict[str, dict[str, list[str]]]:
    """Name of the group -> value -> subjects, names and values in alphabetical order, "not given" last.

    Of several scans of a subject that differ the values are joined by "+"; its age is that at the first of them. Only
    names that at least one subject has.
    """
    of_subject: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for (where, subject, _), named in groups.items():
        if where == cohort and subject in subjects:
            for name, value in named.items():
                of_subject[name][subject].add(value)
    return {name: _by_value(name, of_subject[name], subjects) for name in sorted(of_subject)}


def _by_value(name: str, given: Mapping[str, set[str]], subjects: tuple[str, ...]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for subject in subjects:
        found[_value(name, given.get(subject, set()))].append(subject)
    last = found.pop(NOT_GIVEN, [])
    return {value: found[value] for value in sorted(found)} | ({NOT_GIVEN: last} if last else {})


def _value(name: str, given: set[str]) -> str:
    if not given:
        return NOT_GIVEN
    return age_band(min(map(float, given))) if name == AGE else "+".join(sorted(given))


def age_band(years: float) -> str:
    """0-17, 18-39, 40-59, 60-79 or 80 and over."""
    low = max([0, *(first for first in BANDS if first <= years)])
    above = [first for first in BANDS if first > low]
    return f"{low:02d}-{above[0] - 1}" if above else f"{low} and over"
