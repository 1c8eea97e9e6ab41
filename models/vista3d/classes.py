"""Class ids: which a checkpoint knows, and those of an organ's name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from umd_engine.errors import OptionError, UnknownNameError
from umd_engine.models.vista3d.names import NAMES

# the 13 organs, UMD's name -> the published one; the lung is put together
UMD = {
    "liver": "liver", "kidney_left": "left kidney", "kidney_right": "right kidney", "brain": "brain", "heart": "heart",
    "spleen": "spleen", "aorta": "aorta", "lung": "", "colon": "colon", "urinary_bladder": "bladder",
    "pancreas": "pancreas", "esophagus": "esophagus", "stomach": "stomach",
}  # fmt: skip
LOBES = (28, 29, 30, 31, 32)
SUBCLASSES = {2: (14, 5), 20: LOBES, 21: (*range(33, 57), *range(63, 98), 114, 120, 122)}  # kidney, lung, bone
_NOT_EVERYTHING = {2, 16, 18, 20, 21, *range(23, 28), *range(128, 133)}
CT_BODY = tuple(i for i in range(1, 133) if i not in _NOT_EVERYTHING)  # 117
MR_BODY = (
    9, 8, 6, 104, 105, 22, 91, 92, 62, 13, 11, 93, 94, 10, 98, 99, 100, 101, 102, 103, 115, 95, 96, 87, 88, 58, 59, 60,
    61, 106, 107, 7, 134, 14, 5, 1, 135, 136, 4, 17, 118, 97, 89, 90, 19, 121, 3, 12, 15, 146,
)  # fmt: skip
AT_ONCE = 255  # classes of a uint8 label map


@dataclass(frozen=True)
class ClassSet:
    """The classes of a published model.

    Attributes:
        model: the catalogue's name of it.
        count: ids go from 1 to this.
        unsupported: ids among them that its authors refuse.
        lung: the ids that make up UMD's lung.
        everything: what `all` stands for.
    """

    model: str
    count: int
    unsupported: frozenset[int]
    lung: tuple[int, ...]
    everything: tuple[int, ...]

    @property
    def by_name(self) -> Mapping[str, tuple[int, ...]]:
        """Every name a user may give -> ids: the published names and UMD's."""
        known = {NAMES[i - 1]: self.expand(i) for i in range(1, self.count + 1) if i not in self.unsupported}
        umd = {name: self.lung if name == "lung" else known[published] for name, published in UMD.items()}
        return {**known, **umd}

    def expand(self, number: int) -> tuple[int, ...]:
        """The ids that stand for an id: the kidney, lung and bone are segmented in parts."""
        return SUBCLASSES.get(number, (number,))

    def asked(self, text: str) -> dict[str, tuple[int, ...]]:
        """Organ -> ids of names or ids separated by commas; empty: the 13 organs.

        Raises:
            UnknownNameError: a name that the model lacks, with the nearest. OptionError: an id that it lacks.
        """
        organs: dict[str, tuple[int, ...]] = {}
        known = self.by_name
        for name in [part.strip() for part in text.split(",") if part.strip()] or list(UMD):
            if name == "all":
                found: dict[str, tuple[int, ...]] = {NAMES[i - 1]: (i,) for i in self.everything}
            elif name.isdecimal():
                found = self._by_id(int(name))
            elif name in known:
                found = {name: known[name]}
            else:
                raise UnknownNameError("organ", name, known, where=self.model)
            if twice := [organ for organ in found if organs.get(organ, found[organ]) != found[organ]]:
                raise OptionError(f"{twice[0]} is asked for as two sets of classes", where=self.model, mend="name one")
            organs |= found
        ids = unique(organs)
        if len(ids) > AT_ONCE:
            raise OptionError(f"{len(ids)} classes are asked for", where=self.model, mend=f"ask for {AT_ONCE} at most")
        return organs

    def _by_id(self, number: int) -> dict[str, tuple[int, ...]]:
        if not 1 <= number <= self.count or number in self.unsupported:
            refused = ", ".join(str(i) for i in sorted(self.unsupported))
            raise OptionError(
                f"the model has no class {number}", where=self.model, mend=f"use 1 to {self.count}, without {refused}"
            )
        return {NAMES[number - 1]: self.expand(number)}


def unique(organs: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
    """All ids, each once, in their order."""
    return tuple(dict.fromkeys(i for ids in organs.values() for i in ids))


CT = ClassSet("vista3d", 132, frozenset({16, 18, 129, 130, 131}), LOBES, CT_BODY)
# the lung of MR and PET is two classes that CT images never trained, the lobes were trained on CT alone
CTMR = ClassSet("vista3d-ctmr", 345, frozenset({16, 129, 130, 131, 133, *range(137, 146), 162}), (135, 136), MR_BODY)
CTMR_CT = replace(CTMR, lung=LOBES, everything=CT_BODY)
