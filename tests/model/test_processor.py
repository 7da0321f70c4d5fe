"""From recordings of any rate, length and lead order, and from texts, to model input."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from dbeta.ecg import ECG, LEADS
from dbeta.errors import DBetaError, DBetaWarning
from dbeta.model.processor import DBetaProcessor


@pytest.fixture
def processor(micro_tokenizer):
    """The base model's processor with a small tokenizer."""
    return DBetaProcessor(micro_tokenizer)


@pytest.fixture(autouse=True)
def warnings_are_errors():
    """A warning that no test expects fails it."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", DBetaWarning)
        yield


def sine(rate: float, seconds: float = 10.0, hertz: float = 5.0) -> ECG:
    """The same sine of 1 mV in all leads."""
    time = np.arange(round(seconds * rate)) / rate
    return ECG(np.tile(np.sin(2 * np.pi * hertz * time), (12, 1)), rate)


def test_a_standard_recording_goes_through_unchanged(processor, make_ecg):
    ecg = make_ecg()
    batch = processor(ecg=ecg)
    assert batch["ecg"].shape == (1, 12, 5000)
    assert batch["ecg"].dtype == torch.float32
    np.testing.assert_array_equal(batch["ecg"][0].numpy(), ecg.signal)
    assert processor(ecg=[ecg, ecg])["ecg"].shape == (2, 12, 5000)
    assert processor(ecg=iter([ecg, ecg]))["ecg"].shape == (2, 12, 5000)


def test_leads_are_matched_by_name(processor, make_ecg):
    order = ("V6", "aVF", "I", "V1", "aVL", "III", "V2", "II", "V5", "aVR", "V3", "V4")
    np.testing.assert_array_equal(processor.signal(make_ecg(leads=order)), processor.signal(make_ecg()))
    assert [lead for lead in LEADS if lead not in order] == []


def test_leads_come_in_the_order_the_model_asks_for(make_ecg):
    ecg = make_ecg()
    chosen = DBetaProcessor(leads=("V2", "I")).signal(ecg)
    np.testing.assert_array_equal(chosen, np.stack([ecg["V2"], ecg["I"]]))


def test_computable_leads_are_computed(processor, make_ecg):
    eight = make_ecg(leads=("I", "II", "V1", "V2", "V3", "V4", "V5", "V6"))
    np.testing.assert_allclose(processor.signal(eight), processor.signal(make_ecg()), atol=1e-5)


def test_a_missing_lead_is_named(processor, make_ecg):
    ecg = make_ecg(leads=LEADS[:-1])
    ecg.meta["source"] = "x.hea"
    with pytest.warns(DBetaWarning, match=r"x\.hea: lead V6 is missing and masked"):
        x = processor(ecg=ecg)["ecg"][0].numpy()
    # As pretraining hides leads
    np.testing.assert_array_equal(x, processor.signal(make_ecg()) * (np.arange(12) < 11)[:, None])


@pytest.mark.parametrize("scale", ["mv", "lead_zscore"])
@pytest.mark.parametrize("rate", [500, 360])
def test_a_missing_lead_is_zero_whatever_the_rate(make_ecg, scale, rate):
    with pytest.warns(DBetaWarning, match="only II is present"):
        x = DBetaProcessor(signal_scale=scale).signal(make_ecg(leads=("II",), sampling_rate=rate))
    assert x[1].any()
    assert not np.delete(x, 1, axis=0).any()


@pytest.mark.parametrize("rate", [1000, 400, 257, 100, 10_000])
def test_resampling_keeps_a_sine(processor, rate):
    x = processor.signal(sine(rate))
    assert x.shape == (12, 5000)
    inner = slice(500, 4500)  # away from the ends
    expected = np.sin(2 * np.pi * 5 * np.arange(5000) / 500)
    gain = x[3, inner] @ expected[inner] / (expected[inner] @ expected[inner])
    assert gain == pytest.approx(1, abs=0.01)
    np.testing.assert_allclose(x[3, inner], expected[inner], atol=0.02)


def test_resampling_does_not_fold_high_frequencies_down(processor):
    x = processor.signal(ECG(sine(1000).signal + sine(1000, hertz=440).signal, 1000))
    expected = np.sin(2 * np.pi * 5 * np.arange(5000) / 500)
    np.testing.assert_allclose(x[0, 500:4500], expected[500:4500], atol=0.02)


def test_50_hz_is_taken_with_a_warning(processor):
    with pytest.warns(DBetaWarning, match="only 50 Hz"):
        x = processor.signal(sine(50))
    inner = slice(500, 4500)
    expected = np.sin(2 * np.pi * 5 * np.arange(5000) / 500)
    assert x[0, inner] @ expected[inner] / (expected[inner] @ expected[inner]) == pytest.approx(1, abs=0.01)


def test_10_hz_is_too_slow(processor):
    with pytest.raises(DBetaError, match="10 Hz is too slow"):
        processor.signal(sine(10, hertz=1))


def test_half_a_second_is_padded_with_the_median(processor):
    ecg = sine(500, seconds=0.5, hertz=4)
    ecg.signal += 0.25
    with pytest.warns(DBetaWarning, match=r"only 0\.5 s long"):
        x = processor.signal(ecg)
    np.testing.assert_array_equal(x[:, :250], ecg.signal)
    np.testing.assert_allclose(x[:, 250:], 0.25, atol=0.02)


def test_almost_ten_seconds_are_padded_silently(processor):
    assert processor.signal(sine(500, seconds=9.9)).shape == (12, 5000)


def test_a_long_recording_is_cut_to_its_first_seconds(processor, make_ecg):
    ecg = make_ecg(seconds=30)
    with pytest.warns(DBetaWarning, match=r"30\.0 s long, only the first 10 s"):
        x = processor.signal(ecg)
    np.testing.assert_array_equal(x, ecg.signal[:, :5000])


def test_a_holter_of_which_only_the_start_was_read_warns_too(processor, make_ecg):
    ecg = make_ecg(seconds=10)
    ecg.meta |= {"duration": 86_400.0, "source": "holter.hea"}
    with pytest.warns(DBetaWarning, match=r"holter\.hea: 86400\.0 s long"):
        assert processor.signal(ecg).shape == (12, 5000)


def test_gaps_are_interpolated(processor):
    ramp = np.tile(np.linspace(-1, 1, 5000), (12, 1))
    ecg = ECG(ramp.copy(), 500)
    ecg.signal[2, 1000:2000] = np.nan
    with pytest.warns(DBetaWarning, match=r"1\.7% of the samples are missing"):
        x = processor.signal(ecg)
    np.testing.assert_allclose(x, ramp, atol=1e-6)
    assert np.isnan(ecg.signal[2, 1500])  # the recording itself is left as it was


def test_a_lead_without_any_sample_is_missing(processor, make_ecg):
    ecg = make_ecg()
    ecg.signal[7] = np.nan
    with pytest.warns(DBetaWarning) as caught:
        x = processor.signal(ecg)
    assert not x[7].any()
    assert any("V2 is missing" in str(one.message) for one in caught)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_no_sample_at_all(processor, value):
    with pytest.raises(DBetaError, match="every sample is missing"):
        processor.signal(ECG(np.full((12, 5000), value), 500))


def test_flat_leads(processor, make_ecg):
    ecg = make_ecg()
    ecg.signal[LEADS.index("V3")] = 0.4
    with pytest.warns(DBetaWarning, match="lead V3 is flat"):
        processor.signal(ecg)
    with pytest.raises(DBetaError, match="every lead is flat"):
        processor.signal(ECG(np.ones((12, 5000)), 500))


def test_microvolts_are_noticed(processor, make_ecg):
    ecg = make_ecg()
    ecg.signal *= 1000
    with pytest.warns(DBetaWarning, match="unit of the file may not be mV"):
        processor.signal(ecg)


def test_lead_zscore(make_ecg):
    x = DBetaProcessor(signal_scale="lead_zscore").signal(make_ecg())
    np.testing.assert_allclose(x.mean(axis=1), 0, atol=1e-5)
    np.testing.assert_allclose(x.std(axis=1), 1, atol=1e-3)
    with pytest.raises(DBetaError, match="signal_scale"):
        DBetaProcessor(signal_scale="volts")


def test_texts_are_lower_cased_padded_and_cut(processor, micro_tokenizer):
    batch = processor(text=["Sinus Rhythm", "sinus rhythm. normal ecg"])
    ids, mask = batch["input_ids"], batch["attention_mask"]
    assert ids.dtype == mask.dtype == torch.int64
    length = int(mask[0].sum())
    assert length < ids.shape[1] == int(mask[1].sum())
    assert not ids[0, length:].any()  # padding is 0
    assert ids[0, length - 1] == micro_tokenizer.eos_token_id
    assert ids[0, :length].tolist() == micro_tokenizer("sinus rhythm")["input_ids"]
    short = DBetaProcessor(micro_tokenizer, max_text_tokens=5)
    cut = short(text="sinus rhythm " * 50)["input_ids"]
    assert cut.shape == (1, 5)
    assert cut[0, -1] == micro_tokenizer.eos_token_id


def test_texts_that_cannot_be_used(processor):
    with pytest.raises(DBetaError, match="empty"):
        processor(text=["sinus rhythm", "  "])
    with pytest.raises(DBetaError, match=r"tokenizer\.json"):
        DBetaProcessor()(text="sinus rhythm")


def test_both_at_once(processor, make_ecg):
    batch = processor(ecg=make_ecg(), text="sinus rhythm")
    assert set(batch) == {"ecg", "input_ids", "attention_mask"}


def test_saved_and_loaded_it_does_the_same(micro_tokenizer, make_ecg, tmp_path):
    first = DBetaProcessor(
        micro_tokenizer,
        sampling_rate=250,
        n_samples=2000,
        leads=LEADS[::-1],
        signal_scale="lead_zscore",
        max_text_tokens=9,
        lower_case=False,
    )
    first.save_pretrained(tmp_path)
    assert {"preprocessor_config.json", "tokenizer.json"} <= {file.name for file in tmp_path.iterdir()}
    second = DBetaProcessor.from_pretrained(tmp_path)
    assert second.to_dict() == first.to_dict()
    assert second.lower_case is False
    ecg = make_ecg(seconds=8.5)
    text = "Anterior ST elevation, höchstwahrscheinlich; 心電図"
    before, after = first(ecg=ecg, text=text), second(ecg=ecg, text=text)
    assert before["ecg"].shape == (1, 12, 2000)
    assert all(torch.equal(before[key], after[key]) for key in ("ecg", "input_ids", "attention_mask"))


def test_saved_without_a_tokenizer(make_ecg, tmp_path):
    DBetaProcessor(n_samples=2500).save_pretrained(tmp_path)
    again = DBetaProcessor.from_pretrained(tmp_path)
    assert again.tokenizer is None
    assert again.n_samples == 2500


def test_too_short_for_a_heartbeat(make_ecg):
    with pytest.raises(DBetaError, match="too short to hold a heartbeat"):
        DBetaProcessor().signal(make_ecg(seconds=0.2))


@pytest.mark.parametrize(
    ("given", "call"),
    [
        ("f.hea", r"f\.hea: .* not files; write dbeta\.read_ecg\('f\.hea'\)"),
        (Path("f.hea"), r"write dbeta\.read_ecg\('f\.hea'\)"),
        (["f.hea"], r"write dbeta\.read_ecg\('f\.hea'\)"),
        (np.zeros((12, 5000)), r"not ndarray; write dbeta\.ECG\(signal, sampling_rate\)"),
        ([np.zeros((12, 5000))], r"not ndarray; write dbeta\.ECG\(signal, sampling_rate\)"),
        (torch.zeros(1, 12, 5000), r"not Tensor; write dbeta\.ECG\(signal, sampling_rate\)"),
        ([], "no recording was given"),
    ],
)
def test_what_is_no_recording(processor, given, call):
    with pytest.raises(DBetaError, match=call):
        processor(ecg=given)
    if not isinstance(given, list):
        with pytest.raises(DBetaError, match=call):
            processor.signal(given)
