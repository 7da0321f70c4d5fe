"""A run's log as a picture."""

import matplotlib.image
import numpy as np
import pytest

from dbeta.training.figures import PANELS, draw_log


@pytest.mark.slow
@pytest.mark.parametrize("steps", [0, 1, 80])
def test_a_log_becomes_a_picture(tmp_path, steps):
    names = [name for panel in PANELS.values() for name in panel]
    log = [{"step": step} | dict.fromkeys(names, 0.5 + step / 100) for step in range(1, steps + 1)]
    draw_log(log, tmp_path / "log.png")
    picture = matplotlib.image.imread(tmp_path / "log.png")
    assert picture.shape[:2] == (1000, 1500)
    inked = (picture[..., :3] != 1).any(axis=-1).mean()
    assert inked > 0.01


@pytest.mark.slow
def test_what_is_logged_is_drawn(tmp_path):
    def panel(**entry: float) -> np.ndarray:
        draw_log(
            [{"step": step, **{name: value * step for name, value in entry.items()}} for step in (1, 2, 3)],
            tmp_path / "x.png",
        )
        return matplotlib.image.imread(tmp_path / "x.png")

    empty = panel()
    for name in [name for names in PANELS.values() for name in names]:
        assert not np.array_equal(panel(**{name: 0.2}), empty), name
