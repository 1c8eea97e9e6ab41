"""SAM-Med3D's clicks as its own script draws them: NumPy's legacy stream, one a case."""

from __future__ import annotations

import numpy as np

from umd_engine.errors import OptionError
from umd_engine.evaluation.prompts.drawing import Drawn
from umd_engine.models.prompts import View

SEED = 233  # of the official script, set once a case


class OfficialStream:
    """`np.random.seed(233)` once, then one `randint` a click, organ after organ (uni-medical/SAM-Med3D, utils).

    Args:
        repeat: 0 is the official seed; repeat r takes 233 + r.
    """

    def __init__(self, repeat: int = 0):
        self._random = np.random.RandomState(SEED + repeat)
        self._organ = ""

    def draw(self, organ: str, step: int, view: View) -> Drawn | None:
        """A voxel of the error, each alike; of the label where there is no error; None where that is empty too.

        Raises:
            OptionError: the model does not do its organs one after the other, so the stream would not be the
                official one.
        """
        if step and organ != self._organ:
            raise OptionError(
                "the official stream runs on from organ to organ, and this model does them side by side",
                where="--prompt sam-med3d-official",
                mend="set the model's variant to official, or draw with --prompt sam-med3d-K",
            )
        self._organ = organ
        label, prediction = (volume.cpu().numpy() != 0 for volume in (view.label, view.prediction))
        error = label != prediction
        voxels = np.argwhere(error if error.any() else label)  # C order
        if not len(voxels):
            return None
        x, y, z = (int(n) for n in voxels[self._random.randint(len(voxels))])
        return Drawn((x, y, z), bool(label[x, y, z]))
