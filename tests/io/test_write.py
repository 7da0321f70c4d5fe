"""Written recordings read back as they were, with their mask of reconstructed samples."""

import numpy as np
import pandas as pd
import pytest

from dbeta.ecg import ECG
from dbeta.errors import DBetaError
from dbeta.io.read import read_ecg
from dbeta.io.write import mask_file, write_ecg


@pytest.fixture
def ecg(make_ecg):
    whole = make_ecg(seconds=4, sampling_rate=250)
    mask = np.zeros(whole.signal.shape, bool)
    mask[7] = True
    mask[9, 100:200] = mask[9, 300:301] = True
    return ECG(whole.signal, 250, whole.leads, meta={"reconstructed": mask})


@pytest.mark.parametrize("name", ["a.csv", "a.parquet", "a-1.hea"])
@pytest.mark.filterwarnings("ignore:.*states no unit")
def test_samples_read_back(ecg, tmp_path, name):
    path = tmp_path / name
    write_ecg(ecg, path)
    back = read_ecg(path)
    assert (back.sampling_rate, back.leads) == (250, ecg.leads)
    np.testing.assert_allclose(back.signal, ecg.signal, atol=1e-6 if path.suffix == ".hea" else 0)
    assert "V2" not in back.report
    if path.suffix == ".hea":
        mask = np.load(mask_file(path))["reconstructed"]
        assert "V4 samples 100-199 300-300" in path.read_text()
        assert sorted(one.name for one in tmp_path.iterdir()) == ["a-1.dat", "a-1.hea", "a-1.reconstructed.npz"]
    else:
        table = pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)
        assert [name for name in table if "reconstructed" in name] == ["V2 reconstructed", "V4 reconstructed"]
        mask = np.zeros_like(ecg.meta["reconstructed"])
        mask[7], mask[9] = table["V2 reconstructed"], table["V4 reconstructed"]
    assert (mask == ecg.meta["reconstructed"]).all()


@pytest.mark.parametrize(("name", "words"), [("a.edf", r"\.hea, \.csv"), ("ä b.hea", "only letters")])
def test_names_that_cannot_be_written(ecg, tmp_path, name, words):
    with pytest.raises(DBetaError, match=words):
        write_ecg(ecg, tmp_path / name)
    assert not list(tmp_path.iterdir())
