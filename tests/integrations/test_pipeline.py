"""Pipelines of transformers: the one for ECGs, and the built-in one, which reads text."""

import numpy as np
import pytest
import torch
from transformers import pipeline

import dbeta
from dbeta.integrations.pipeline import ECGFeatureExtractionPipeline


@pytest.fixture(scope="module")
def loaded(micro_checkpoint):
    return dbeta.load(micro_checkpoint, precision="float32")


@pytest.fixture(scope="module")
def extract(micro_checkpoint):
    return pipeline(
        "feature-extraction", model=str(micro_checkpoint), pipeline_class=ECGFeatureExtractionPipeline, device="cpu"
    )


def test_one_ecg_or_several(extract, loaded, make_ecg):
    ecgs = [make_ecg(seed=seed, rate=60 + 20 * seed) for seed in range(3)]
    expected = loaded.embed(ecgs)
    np.testing.assert_allclose(extract(ecgs[0]), expected[:1], atol=1e-5)
    np.testing.assert_allclose(np.concatenate(extract(ecgs)), expected, atol=1e-5)
    for batch_size in (1, 2):
        tensors = extract(ecgs, batch_size=batch_size, return_tensors=True)
        assert [one.shape for one in tensors] == [(1, 32)] * 3
        np.testing.assert_allclose(torch.cat(tensors), expected, atol=1e-5)


def test_files(extract, loaded, tmp_path):
    from pydicom.data import get_testdata_file

    file = get_testdata_file("waveform_ecg.dcm")
    np.testing.assert_allclose(extract(file), loaded.embed(file), atol=1e-4)
    with pytest.raises(dbeta.DBetaError, match=r"none\.hea"):
        extract(str(tmp_path / "none.hea"))


def test_what_is_no_recording(extract):
    with pytest.raises(dbeta.DBetaError, match="not ndarray"):
        extract(np.zeros((12, 5000)))


def test_half_precision(micro_checkpoint, loaded, make_ecg):
    extract = pipeline(
        "feature-extraction",
        model=str(micro_checkpoint),
        pipeline_class=ECGFeatureExtractionPipeline,
        dtype=torch.bfloat16,
        device="cpu",
    )
    (embedding,) = extract(make_ecg(), return_tensors=True)
    assert embedding.dtype == torch.bfloat16
    expected = loaded.embed(make_ecg())[0]
    assert np.corrcoef(embedding.float(), expected)[0, 1] > 0.99


def test_saved_and_loaded(extract, loaded, make_ecg, tmp_path):
    extract.save_pretrained(tmp_path)
    again = pipeline(
        "feature-extraction", model=str(tmp_path), pipeline_class=ECGFeatureExtractionPipeline, device="cpu"
    )
    np.testing.assert_allclose(again(make_ecg()), loaded.embed(make_ecg()), atol=1e-5)
    assert dbeta.load(tmp_path).embed_text("pause").shape == (1, 32)


def test_the_built_in_pipeline_embeds_text(micro_checkpoint, loaded, make_ecg):
    extract = pipeline("feature-extraction", model=str(micro_checkpoint), device="cpu")
    texts = ["atrial fibrillation", "pause"]
    np.testing.assert_allclose(np.concatenate(extract(texts)), loaded.embed_text(texts), atol=1e-5)
    with pytest.raises(ValueError, match="text input must be"):
        extract(make_ecg())
