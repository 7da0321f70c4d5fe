"""Random draws: each follows from the seed, the record and its name alone, and is as random as it should be."""

import inspect

import numpy as np
import pytest
import torch

from dbeta.simulation import patients, recording
from dbeta.simulation.draws import Draws
from dbeta.simulation.simulation import simulate

MANY = 20_000


def test_a_new_draw_changes_no_other():
    plain, more = Draws(3, range(50)), Draws(3, range(50))
    first = plain.normal("heart rate", 70, 10), plain.uniform("waves", 0, 1, 4, 5)
    more.choice("something new", [1, 2])
    again = {"waves": more.uniform("waves", 0, 1, 4, 5)}
    more.scope("new").uniform("heart rate")
    again["heart rate"] = more.normal("heart rate", 70, 10)
    assert torch.equal(first[0], again["heart rate"])
    assert torch.equal(first[1], again["waves"])


def test_a_longer_draw_begins_with_the_shorter_one():
    assert torch.equal(Draws(0, [5]).uniform("x", 0, 1, 9)[:, :4], Draws(0, [5]).uniform("x", 0, 1, 4))


def test_a_record_has_the_same_numbers_alone_and_in_company():
    company = Draws(7, range(100)).normal("x", 0, 1, 3)
    assert torch.equal(Draws(7, [42]).normal("x", 0, 1, 3)[0], company[42])
    assert torch.equal(Draws(7, range(100)).part(slice(40, 60)).normal("x", 0, 1, 3), company[40:60])


@pytest.mark.parametrize("largest", [2**32, 2**63 - 1])
def test_large_seeds_and_records(largest):
    numbers = [Draws(seed, [record]).uniform("x") for seed in (0, largest) for record in (0, largest)]
    assert len(set(map(float, numbers))) == 4


def test_the_same_name_twice_is_refused():
    draws = Draws(0, [1])
    draws.uniform("heart rate")
    with pytest.raises(ValueError, match="'heart rate' is drawn twice"):
        draws.chance("heart rate", 0.5)
    inner = draws.scope("atria")
    inner.uniform("heart rate")
    with pytest.raises(ValueError, match="'atria: heart rate' is drawn twice"):
        draws.scope("atria").normal("heart rate")
    part = draws.part(slice(0, 1))
    part.uniform("of a part")
    draws.uniform("of a part")
    with pytest.raises(ValueError, match="drawn twice"):
        part.uniform("heart rate")


def test_numbers_are_uniform():
    numbers = Draws(0, range(MANY)).uniform("x", 0, 1, 10).double()
    assert float(numbers.min()) >= 0
    assert float(numbers.max()) < 1
    # Chi-squared with 255 degrees of freedom: mean 255, deviation 22.6
    for some in (numbers, numbers * 4096 % 1):  # the high bits, and lower ones
        counts = (some.flatten() * 256).long().bincount(minlength=256).double()
        expected = numbers.numel() / 256
        assert 160 < float(((counts - expected) ** 2 / expected).sum()) < 360


def test_numbers_of_neighbours_are_uncorrelated():
    """Of records, indices, names and seeds that differ by little: correlations stay within five standard errors."""
    numbers = Draws(0, range(MANY)).uniform("x", 0, 1, 4)
    others = {
        "next record": numbers.roll(1, dims=0),
        "next index": numbers.roll(1, dims=1),
        "next seed": Draws(1, range(MANY)).uniform("x", 0, 1, 4),
        "distant records": Draws(0, range(2**20, 2**20 + MANY)).uniform("x", 0, 1, 4),
        "similar name": Draws(0, range(MANY)).uniform("y", 0, 1, 4),
        "scope": Draws(0, range(MANY)).scope("x").uniform("x", 0, 1, 4),
    }
    for what, other in others.items():
        for left, right in ((numbers, other), ((numbers - 0.5) ** 2, (other - 0.5) ** 2)):
            found = np.corrcoef(left.flatten().numpy(), right.flatten().numpy())[0, 1]
            assert abs(found) < 5 / numbers.numel() ** 0.5, what


def test_all_pairs_of_names_are_uncorrelated():
    draws = Draws(0, range(4000))
    numbers = torch.stack([draws.uniform(f"draw {i}") for i in range(60)]).numpy()
    off = np.corrcoef(numbers)[np.triu_indices(60, 1)]
    assert np.abs(off).max() < 5 / 4000**0.5
    assert off.std() == pytest.approx(4000**-0.5, rel=0.1)


def test_distributions():
    draws = Draws(0, range(4000))
    assert len(draws) == 4000
    numbers = draws.normal("normal", 2.0, 3.0)
    assert float(numbers.mean()) == pytest.approx(2.0, abs=0.2)
    assert float(numbers.std()) == pytest.approx(3.0, abs=0.2)
    drawn = draws.choice("choice", [1.0, 0.0, 3.0])
    assert drawn.bincount(minlength=3).tolist()[1] == 0
    assert float((drawn == 2).float().mean()) == pytest.approx(0.75, abs=0.03)
    assert float(draws.chance("chance", 0.2).float().mean()) == pytest.approx(0.2, abs=0.03)
    assert float(draws.spread("spread", 0.5).median()) == pytest.approx(1.0, abs=0.05)


def test_a_draw_added_to_the_simulation_changes_no_record(monkeypatch):
    plain = simulate(5, range(12))
    drawn = []
    for where, name in ((patients, "_draw_rhythm"), (patients, "repolarize"), (recording, "filtered")):
        real = getattr(where, name)

        def more(draws, *rest, real=real, name=name):
            drawn.append(draws.uniform(f"added before {name}"))
            return real(draws, *rest)

        assert "draws" in inspect.signature(real).parameters
        monkeypatch.setattr(where, name, more)
    other = simulate(5, range(12))
    assert len(drawn) == 3
    assert torch.equal(plain.signals, other.signals)
    assert all(torch.equal(plain.findings[name], other.findings[name]) for name in plain.findings)
