"""Reconstruction: what is replaced, what never is, and millivolts that are exact where the model's shape is."""

import numpy as np
import pytest
import torch

import dbeta
from dbeta.ecg import ECG, LEADS
from dbeta.errors import DBetaError, DBetaWarning
from dbeta.inference.reconstruct import describe_reconstruction, standardisation
from dbeta.model.losses import mem_targets
from dbeta.signal.gaps import stretches


@pytest.fixture(params=["unseen", "tokens"])
def model(micro_checkpoint, request):
    loaded = dbeta.load(micro_checkpoint, precision="float32")
    loaded.model.config.mem_scope = request.param
    return loaded


@pytest.fixture
def oracle(model, monkeypatch):
    """Make the model predict exactly what MEM is taught: the standardised signal of a whole recording."""

    def install(whole):
        config = model.model.config
        span = config.n_tokens * config.samples_per_token
        seen = []

        def predict(ecg, hidden, input_ids, attention_mask=None):
            seen.append((ecg.clone(), hidden.clone()))
            rows = []
            for one in ecg:
                # Where the window begins is told by a lead that is never missing
                lead = torch.from_numpy(whole[11])
                fits = [i for i in range(len(lead) - span + 1) if torch.equal(lead[i : i + span], one[11, :span])]
                rows.append(torch.from_numpy(whole[:, fits[0] : fits[0] + span]))
            targets = mem_targets(torch.stack(rows), config.n_tokens, config.samples_per_token)
            return targets.transpose(1, 2).flatten(2)

        monkeypatch.setattr(model.model, "predict_signal", predict)
        return seen

    return install


@pytest.mark.parametrize("seconds", [10, 25.3])
def test_stretches_come_back_in_millivolts(model, oracle, make_ecg, seconds):
    whole = make_ecg(seconds=seconds, sampling_rate=100).signal
    whole[6:] += np.linspace(0.3, -0.2, 6, dtype=np.float32)[:, None]
    oracle(whole)
    signal = whole.copy()
    signal[9, 200:500] = np.nan
    signal[6, 310:420] = 0.0  # disconnected
    signal[0, 700:800] = np.nan  # follows from II and III
    signal[8, 900:903] = np.nan  # short
    done = model.reconstruct(ECG(signal, 100))
    mask = done.meta["reconstructed"]
    wanted = np.zeros(whole.shape, bool)
    wanted[9, 200:500] = wanted[6, 310:420] = wanted[0, 700:800] = wanted[8, 900:903] = True
    assert (mask == wanted).all()
    assert (done.signal[~mask] == signal[~mask]).all()
    long = wanted.copy()
    long[8] = False
    np.testing.assert_allclose(done.signal[long], whole[long], atol=2e-4)
    np.testing.assert_allclose(done.signal[8, 900:903], whole[8, 900:903], atol=0.1)
    assert (done.sampling_rate, done.leads, done.signal.shape) == (100, LEADS, whole.shape)
    assert describe_reconstruction(done) == ["I: 7.00–8.00 s", "V1: 3.10–4.20 s", "V3: 9.00–9.03 s", "V4: 2.00–5.00 s"]


def test_a_missing_lead_has_the_right_shape_and_a_likely_size(model, oracle, make_ecg):
    whole = make_ecg(seconds=30, sampling_rate=100).signal
    seen = oracle(whole)
    signal = whole.copy()
    signal[7] = np.nan
    done = model.reconstruct(ECG(signal, 100))
    assert done.meta["reconstructed"][7].all() and done.meta["reconstructed"].sum() == 3000
    assert "missing_leads" not in done.meta
    assert np.corrcoef(done["V2"], whole[7])[0, 1] > 0.99
    assert 0.4 < done["V2"].std() / whole[7].std() < 2.5
    # The lead is 0 in the model's input
    assert all((ecg[:, 7] == 0).all() for ecg, _ in seen)
    hidden = torch.cat([hidden for _, hidden in seen]).int()
    if model.model.config.mem_scope == "unseen":  # one run, which sees all that was recorded
        assert hidden.shape == (4, 24) and not hidden.any()
    else:  # each token is predicted where it is hidden
        assert hidden.sum() >= len(seen[0][1][0]) * 3 and ((hidden.sum(dim=1) - 12).abs() <= 1).all()


def test_a_gap_is_shown_as_in_pretraining(model, monkeypatch, make_ecg):
    seen = []

    def predict(ecg, hidden, input_ids, attention_mask=None):
        seen.append((ecg.clone(), hidden.clone()))
        return torch.zeros(len(ecg), 12, 960)

    monkeypatch.setattr(model.model, "predict_signal", predict)
    signal = make_ecg(seconds=10, sampling_rate=100).signal.copy()
    signal[9, 200:500] = np.nan
    signal[:, 600:680] = np.nan  # two tokens of all leads
    model.reconstruct(ECG(signal, 100))
    ecg, hidden = seen[0]
    nothing = torch.zeros(24, dtype=torch.bool)
    nothing[15:17] = True
    if model.model.config.mem_scope == "unseen":
        assert (ecg[0, 9, 200:500] == 0).all() and (ecg[0, :, 600:680] == 0).all()
        assert (hidden[0] == nothing).all()
    else:
        assert (ecg[0, 9, 201:499] != 0).all()  # interpolated
        nothing[5:13] = True
        assert (hidden[0] == nothing).all()


def test_leads_asked_for_are_replaced_and_limb_leads_follow(model, oracle, make_ecg):
    whole = make_ecg(seconds=10, sampling_rate=100).signal
    oracle(whole)
    done = model.reconstruct(ECG(whole, 100), leads=["V3", "aVL"])
    assert (done.meta["reconstructed"].any(axis=1) == np.isin(LEADS, ["V3", "aVL"])).all()
    np.testing.assert_allclose(done["aVL"], whole[4], atol=1e-5)
    assert not np.array_equal(done["V3"], whole[8])
    with pytest.raises(DBetaError, match="V9"):
        model.reconstruct(ECG(whole, 100), leads="V9")


def test_a_recording_without_gaps_is_unchanged_and_needs_no_fusion(make_ecg):
    ecg = make_ecg()
    done = dbeta.load("tiny").reconstruct(ecg)
    assert (done.signal == ecg.signal).all() and not done.meta["reconstructed"].any()
    assert describe_reconstruction(done) == []
    with pytest.raises(DBetaError, match="two encoders only"):
        dbeta.load("tiny").reconstruct(ecg, leads="V1")
    with pytest.raises(DBetaError, match=r"DBeta\.reconstruct"):
        describe_reconstruction(ecg)


@pytest.mark.parametrize(("seconds", "rate"), [(7, 257), (33, 500), (10, 1000)])
def test_any_rate_and_length_with_the_real_network(model, make_ecg, seconds, rate):
    ecg = make_ecg(seconds=seconds, sampling_rate=rate)
    signal = ecg.signal.copy()
    signal[1:, : 2 * rate] = np.nan
    signal[10] = np.nan
    done = model.reconstruct(ECG(signal, rate, report="sinus rhythm"))
    mask = done.meta["reconstructed"]
    assert (mask == np.isnan(signal)).all() and np.isfinite(done.signal).all()
    assert (done.signal[~mask] == signal[~mask]).all()
    np.testing.assert_allclose(done["II"] - done["I"], done["III"], atol=1e-5)
    assert done.report == "sinus rhythm"
    again = model.reconstruct(ECG(signal, rate, report="sinus rhythm"))
    assert (again.signal == done.signal).all()


def test_what_nothing_was_recorded_around_stays_missing(model, make_ecg):
    signal = make_ecg(seconds=40, sampling_rate=100).signal.copy()
    signal[:, 1000:3000] = np.nan
    with pytest.warns(DBetaWarning, match="could not be reconstructed"):
        done = model.reconstruct(ECG(signal, 100))
    assert np.isnan(done.signal).any() and not (done.meta["reconstructed"] & np.isnan(done.signal)).any()
    signal[:] = np.nan
    with pytest.raises(DBetaError, match="no signal"):
        model.reconstruct(ECG(signal, 100))


def test_standardisation_inverts_the_target_of_mem():
    x = 0.4 + 0.3 * torch.from_numpy(np.random.default_rng(1).standard_normal((1, 1, 500)))
    target = mem_targets(x, 10, 50).transpose(1, 2).flatten(2)[0, 0].numpy()
    mean, deviation = standardisation(x[0, 0, :350].numpy(), target[350:])
    np.testing.assert_allclose(mean + deviation * target[350:], x[0, 0, 350:].numpy(), atol=1e-9)
    # A prediction that claims all of the variance leaves the measured samples' own
    mean, deviation = standardisation(np.array([1.0, 2.0, 3.0]), np.array([9.0, -9.0]))
    assert (mean, round(deviation, 3)) == (2.0, 1.0)


def test_stretches():
    assert stretches(np.array([1, 1, 0, 1, 0, 0, 1], bool)) == [(0, 2), (3, 4), (6, 7)]
    assert stretches(np.zeros(3, bool)) == []
