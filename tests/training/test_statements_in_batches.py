"""Batches of simulated rows whose texts state negations, numbers and waves: what the signs say of them."""

import numpy as np
import pytest
import torch

from dbeta.conditions.statements import facts
from dbeta.ecg import LEADS
from dbeta.model.processor import DBetaProcessor
from dbeta.simulation.dataset import SimulatedRows
from dbeta.training.collate import PretrainCollator
from dbeta.training.pairs import batch_signs
from dbeta.training.recipe import CollatorSettings, Recipe
from dbeta.training.rows import open_rows

ROWS = SimulatedRows(40, 5, waves=True)


@pytest.fixture(scope="module")
def rows():
    columns = ROWS[range(40)]
    return [{name: values[i] for name, values in columns.items()} | {"position": i, "corpus": 0} for i in range(40)]


@pytest.fixture
def collate(micro_config, micro_tokenizer, rows):
    """A batch by the collator's settings, and its signs."""

    def make(rows=rows, **settings):
        processor = DBetaProcessor(micro_tokenizer, sampling_rate=100, n_samples=1000, max_text_tokens=64)
        collator = PretrainCollator(
            processor, micro_config(lead_mask_prob=0.0), CollatorSettings(**settings), decided=[ROWS.vocabulary]
        )
        batch = collator(rows)
        return batch, batch_signs(batch["facts"], batch["aligned"], "entailment")

    return make


def test_a_record_has_what_its_own_text_states(collate):
    batch, signs = collate(written_share=1.0, misaligned_share=0.0, statements=1.0, statement_prompts=30, prompts=20)
    assert signs.shape == (40, 40 + 50)
    assert (signs.diagonal() == 1).all()
    assert torch.isfinite(batch["facts"]["bands"][..., 1]).any()
    prompts = signs[:, 40 + 20 :]
    assert ((prompts == 1).any(dim=0) & (prompts == -1).any(dim=0)).sum() > 15


def test_nothing_of_it_is_there_by_default(collate):
    batch, signs = collate(prompts=8)
    assert signs.shape == (40, 48)
    assert batch["facts"]["records"].shape[1] == len(ROWS.vocabulary)
    assert not torch.isfinite(batch["facts"]["bands"][..., 1]).any()


def test_a_near_text_is_misaligned_and_false(collate):
    settings = {"written_share": 1.0, "statements": 0.5}
    batch, signs = collate(misaligned_share=1.0, near_share=1.0, **settings)
    assert (~batch["aligned"]).float().mean() > 0.9
    assert (signs.diagonal()[~batch["aligned"]] == -1).all()
    facts = batch["facts"]
    holds = facts["records"] == 1
    # Of what a text states, all but one thing at most is known to hold; where nothing can be exchanged it is another's
    lacking = (facts["states"] & ~holds).sum(dim=1) + (facts["denies"] & holds).sum(dim=1)
    assert (lacking <= 1).float().mean() > 0.9 and (lacking == 1).float().mean() > 0.5


def test_near_texts_are_also_prompts(collate):
    batch, signs = collate(written_share=1.0, misaligned_share=0.0, statements=0.5, prompts=5, near_prompts=12)
    assert batch["aligned"].all() and signs.shape == (40, 40 + 5 + 12)
    near = signs[:, 45:]
    assert (near == -1).any(dim=0).all()  # none holds for the record that it was made from


def test_reports_are_exchanged_in_one_statement(collate):
    batch, signs = collate(misaligned_share=1.0, near_share=1.0, written_share=0.0)
    facts = batch["facts"]
    from_report = ~batch["aligned"] & ~facts["complete"]
    assert from_report.sum() > 5
    missing = (facts["states"] & (facts["records"] != 1))[from_report].sum(dim=1)
    assert (missing == 1).all()
    assert (signs.diagonal()[from_report] == -1).all()


def test_a_record_in_few_leads_states_what_these_show(collate):
    batch, signs = collate(written_share=1.0, misaligned_share=0.0, statements=0.5, lead_sets=1.0)
    shown = batch["ecg"].abs().amax(dim=2) > 0
    assert {int(count) for count in shown.sum(dim=1)} <= {0, 1, 2, 3, 6, 8}
    assert (signs.diagonal() == 1).all()
    columns = [*ROWS.vocabulary]
    infarct = columns.index("anterior myocardial infarction")
    without_chest = ~shown[:, LEADS.index("V2") :].any(dim=1)
    assert without_chest.any() and (batch["facts"]["records"][without_chest, infarct] == 0).all()


def test_a_corpus_without_numbers_decides_none(collate, rows):
    plain = [{name: value for name, value in row.items() if name not in ("waves", "numbers")} for row in rows]
    batch, signs = collate(plain, written_share=1.0, misaligned_share=0.0, statements=1.0, statement_prompts=30)
    assert (signs.diagonal() == 1).all()
    assert torch.isnan(batch["facts"]["numbers"]).all()
    fibrillating = [i for i, row in enumerate(plain) if "atrial fibrillation" in row["findings"]]
    column = len(ROWS.vocabulary) + list(facts()).index("irregularly irregular rr intervals")
    assert fibrillating and (batch["facts"]["records"][fibrillating, column] == 1).all()  # what findings say of waves
    numbers = torch.isfinite(batch["facts"]["prompt_bands"][..., 1]).any(dim=1)
    assert numbers.any() and not signs[:, 40:][:, numbers].any()


@pytest.mark.parametrize(
    ("settings", "wanted"), [({}, False), ({"statements": 0.5}, True), ({"statement_prompts": 6}, True)]
)
def test_simulated_rows_tell_their_waves_where_a_recipe_asks(settings, wanted):
    recipe = Recipe(corpus="simulated", collator=CollatorSettings(**settings))
    row = open_rows(recipe, "simulated")[[0]]
    assert ("waves" in row) == wanted
    if wanted:
        assert row["waves"][0].dtype == np.int8
