"""What each kind of dataset says of its records, on synthetic trees in the datasets' own layouts."""

from datetime import datetime

import h5py
import numpy as np
import pandas as pd
import pytest
import wfdb
from scipy.io import savemat

from dbeta.conditions.registry import find_condition, load_conditions
from dbeta.corpus.build import build_corpus
from dbeta.corpus.sources import SOURCES
from dbeta.corpus.sources.base import Source, finding_name, hashed_splits
from dbeta.corpus.sources.challenge_2021 import KINDS, MEANINGS
from dbeta.corpus.sources.ptb_xl import read_ptb_xl, read_ptb_xl_table
from dbeta.corpus.store import decode_signal, load_corpus
from dbeta.ecg import LEADS
from dbeta.errors import DBetaError, DBetaWarning
from dbeta.io.read import read_ecg

#: As MIMIC-IV-ECG stores them.
MIMIC_LEADS = ("I", "II", "III", "aVR", "aVF", "aVL", "V1", "V2", "V3", "V4", "V5", "V6")


def rows_of(corpus):
    """The corpus's rows by record, without their signals."""
    return {row["record_id"]: row for row in load_corpus(corpus).remove_columns("signal")}


def check_patients(table):
    """No patient is in two splits."""
    assert not table.drop_duplicates(["patient_id", "split"])["patient_id"].duplicated().any()


# --- names of findings


def test_a_finding_has_the_name_of_its_condition():
    assert finding_name("complete left bundle branch block") == finding_name("LBBB") == "left bundle branch block"
    assert finding_name("ST/T change") == "st/t change"
    assert finding_name("Something  Else") == "something else"


def test_names_stand_for_themselves():
    for condition in load_conditions().values():
        assert finding_name(condition.name) == condition.name.lower()
        assert find_condition(condition.name.lower()) is condition


# --- splits


def test_hashed_splits_follow_from_the_patient_alone():
    patients = pd.Series([str(i // 3) for i in range(30_000)])
    splits, rule = hashed_splits(patients)
    table = pd.DataFrame({"patient_id": patients, "split": splits})
    check_patients(table)
    shares = table.drop_duplicates("patient_id")["split"].value_counts(normalize=True)
    assert shares["train"] == pytest.approx(0.8, abs=0.015)
    assert shares["test"] == pytest.approx(0.1, abs=0.012)
    assert "80%" in rule
    again, _ = hashed_splits(patients[::-1])
    assert again[::-1] == splits
    few, _ = hashed_splits(pd.Series(["p7", "p1", "p2", "p1"]))
    assert few == ["test", "validation", "train", "validation"]  # the same in every version and on every machine


def test_large_datasets_hold_out_less():
    patients = pd.Series([str(i) for i in range(100_000)])
    splits, rule = hashed_splits(patients)
    shares = pd.Series(splits).value_counts(normalize=True)
    assert shares["train"] == pytest.approx(0.95, abs=0.005)
    assert shares["validation"] == pytest.approx(0.025, abs=0.003)
    assert "95%" in rule
    small, _ = hashed_splits(patients[:1000])
    for large, other in zip(splits, small, strict=False):  # what is held out of many is held out of few
        assert large in ("train", other)


def test_a_source_is_checked(tmp_path):
    table = {"record_id": ["a", "b"], "file": ["a", "b"], "patient_id": ["p", "p"], "split": ["train", "train"]}
    source = Source(pd.DataFrame(table), [], tmp_path, "")
    assert source.table["findings"].tolist() == [(), ()]
    with pytest.raises(DBetaError, match="patient p is in two splits"):
        Source(pd.DataFrame(table | {"split": ["train", "test"]}), [], tmp_path, "")
    with pytest.raises(DBetaError, match="record a twice"):
        Source(pd.DataFrame(table | {"record_id": ["a", "a"]}), [], tmp_path, "")
    with pytest.raises(DBetaError, match="no records found"):
        Source(pd.DataFrame(table).head(0), [], tmp_path, "")


# --- PTB-XL


def test_ptb_xl(micro_ptb_xl):
    source = read_ptb_xl(micro_ptb_xl)
    check_patients(source.table)
    assert source.vocabulary == sorted({one for row in source.table["findings"] for one in row})
    assert "conduction disturbance" in source.vocabulary
    for findings, unknown in zip(source.table["findings"], source.table["unknown"], strict=True):
        assert unknown == (["sinus bradycardia"] if "sinus rhythm" in findings else [])


def test_what_readers_of_ptb_xl_leave_out_is_unknown(micro_ptb_xl, tmp_path):
    codes = ({"NORM": 100.0}, {"IMI": 100.0}, {"IMI": 100.0, "QWAVE": 0.0}, {"IMI": 100.0, "INVT": 0.0})
    table = pd.read_csv(micro_ptb_xl / "ptbxl_database.csv").head(4).assign(scp_codes=[str(one) for one in codes])
    table.to_csv(tmp_path / "ptbxl_database.csv", index=False)
    statements = pd.read_csv(micro_ptb_xl / "scp_statements.csv", index_col=0)
    statements.loc["QWAVE", ["description", "form"]] = "Q waves present", 1.0
    statements.loc["INVT", ["description", "form"]] = "inverted T-waves", 1.0
    statements.to_csv(tmp_path / "scp_statements.csv")
    unknown = list(read_ptb_xl(tmp_path).table["unknown"])
    # A normal record has no Q waves; an infarct with no word of any shape may; one with a word of another has none
    assert unknown == [[], ["q waves", "t-wave inversion"], [], []]


def test_ptb_xl_ages_over_89(micro_ptb_xl, tmp_path):
    table = pd.read_csv(micro_ptb_xl / "ptbxl_database.csv").assign(age=300.0)
    table.to_csv(tmp_path / "ptbxl_database.csv", index=False)
    (tmp_path / "scp_statements.csv").write_text((micro_ptb_xl / "scp_statements.csv").read_text())
    assert set(read_ptb_xl(tmp_path).table["age"]) == {90.0}


@pytest.mark.shared
def test_super_classes_are_those_of_the_published_benchmark(ptb_xl_tables, shared):
    ours = read_ptb_xl_table(ptb_xl_tables)
    published = pd.read_parquet(shared / "merl-splits" / "ptbxl_super_class.parquet").set_index("ecg_id")
    both = ours.index.intersection(published.index)
    assert len(both) > 2000
    phrases = {
        "NORM": "normal ecg",
        "MI": "myocardial infarction",
        "STTC": "st/t change",
        "CD": "conduction disturbance",
        "HYP": "hypertrophy",
    }
    for name, phrase in phrases.items():
        stated = np.array([phrase in findings for findings in ours.loc[both, "findings"]])
        np.testing.assert_array_equal(stated, published.loc[both, name].to_numpy() == 1, err_msg=name)


@pytest.fixture
def ptb_xl_tables(shared, tmp_path):
    """PTB-XL's two tables, without signals."""
    pd.read_csv(shared / "ptb-xl" / "records.csv.xz").to_csv(tmp_path / "ptbxl_database.csv", index=False)
    (tmp_path / "scp_statements.csv").write_bytes((shared / "ptb-xl" / "scp_statements.csv").read_bytes())
    return tmp_path


@pytest.mark.shared
def test_each_statement_is_the_condition_that_lists_it(shared):
    table = pd.read_csv(shared / "ptb-xl" / "scp_statements.csv", index_col=0)
    aggregates = ("myocardial_infarction", "st_t_change", "conduction_disturbance", "hypertrophy")
    of = {
        code: one.name.lower()
        for one in load_conditions().values()
        if one.key not in aggregates
        for code in one.statements
    }
    names = {code: finding_name(words) for code, words in table["description"].items()}
    assert names == of
    assert len(set(names.values())) == len(names) == 71


# --- MIMIC-IV-ECG


def write_mimic(folder, records):
    """Write records in MIMIC-IV-ECG's own layout.

    Args:
        folder: to write to.
        records: subject, study, ECG, report lines.
    """
    rows, machine = [], []
    for subject, study, ecg, lines in records:
        path = f"files/p{str(subject)[:4]}/p{subject}/s{study}/{study}"
        (folder / path).parent.mkdir(parents=True)
        wfdb.wrsamp(
            str(study),
            fs=int(ecg.sampling_rate),
            units=["mV"] * 12,
            sig_name=list(MIMIC_LEADS),
            p_signal=np.stack([ecg[lead] for lead in MIMIC_LEADS], axis=1).astype(np.float64),
            fmt=["16"] * 12,
            adc_gain=[200.0] * 12,
            baseline=[0] * 12,
            comments=[f"<subject_id>: {subject}"],
            base_time=datetime(2180, 7, 23, 8, 44).time(),
            base_date=datetime(2180, 7, 23).date(),
            write_dir=str((folder / path).parent),
        )
        rows.append(
            {
                "subject_id": subject,
                "study_id": study,
                "file_name": study,
                "ecg_time": "2180-07-23 08:44:00",
                "path": path,
            }
        )
        lines = {f"report_{i}": lines[i] if i < len(lines) else None for i in range(18)}
        measured = {"bandwidth": "0.005-150 Hz", "filtering": "60 Hz notch", "rr_interval": 659, "p_onset": 29999}
        own = {"subject_id": subject, "study_id": study, "cart_id": 6848296, "ecg_time": "2180-07-23 08:44:00"}
        machine.append(own | lines | measured)
    pd.DataFrame(rows).to_csv(folder / "record_list.csv", index=False)
    pd.DataFrame(machine[::-1]).to_csv(folder / "machine_measurements.csv", index=False)
    return folder


@pytest.fixture
def mimic(tmp_path, make_ecg):
    lines = [
        ["Sinus rhythm", "Left axis deviation", None, "Borderline ECG"],
        ["*** Poor data quality ***", "Atrial fibrillation", "=-"],
        [],
    ]
    return write_mimic(
        tmp_path / "mimic",
        [
            (10000032, 40689238, make_ecg(seed=1), lines[0]),
            (10000764, 42954122, make_ecg(seed=2), lines[1]),
            (10000764, 42954123, make_ecg(seed=3), lines[2]),
        ],
    )


def test_mimic(mimic, tmp_path, make_ecg):
    counts = build_corpus("mimic-iv-ecg", mimic, tmp_path / "out")
    assert (counts["records"], counts["patients"], counts["rejected"], counts["vocabulary"]) == (3, 2, 0, [])
    rows = rows_of(tmp_path / "out")
    row = rows["40689238"]
    assert row["file"] == "files/p1000/p10000032/s40689238/40689238"
    assert row["report"] == "sinus rhythm. left axis deviation. borderline ecg"
    assert (row["patient_id"], row["source"], row["device"]) == ("10000032", "mimic-iv-ecg", "cart 6848296")
    assert (row["findings"], row["unknown"], row["sex"]) == ([], [], "unknown")
    assert np.isnan(row["age"])
    assert "atrial fibrillation" in rows["42954122"]["report"]
    assert "*" not in rows["42954122"]["report"]
    assert rows["42954123"]["report"] == ""
    for seed, stored in enumerate(load_corpus(tmp_path / "out"), start=1):  # aVL and aVF have not changed places
        np.testing.assert_allclose(decode_signal(stored).signal, make_ecg(seed=seed).signal, atol=0.0031)


def test_mimic_with_its_patients(mimic):
    table = {
        "subject_id": [10000764, 10000032],
        "gender": ["M", "F"],
        "anchor_age": [60, 52],
        "anchor_year": [2178, 2180],
    }
    pd.DataFrame(table).to_csv(mimic / "patients.csv.gz", index=False)
    source = SOURCES["mimic-iv-ecg"](mimic)
    assert source.table["age"].tolist() == [52, 62, 62]
    assert source.table["sex"].tolist() == ["female", "male", "male"]


def test_a_study_without_files_is_rejected_and_one_without_a_report_kept(mimic, tmp_path):
    for suffix in (".hea", ".dat"):
        (mimic / f"files/p1000/p10000032/s40689238/40689238{suffix}").unlink()
    machine = pd.read_csv(mimic / "machine_measurements.csv", dtype=str)
    machine[machine["study_id"] != "42954122"].to_csv(mimic / "machine_measurements.csv", index=False)
    counts = build_corpus("mimic-iv-ecg", mimic, tmp_path / "out")
    assert (counts["records"], counts["rejected"]) == (2, 1)
    assert rows_of(tmp_path / "out")["42954122"]["report"] == ""


@pytest.mark.parametrize("name", ["record_list.csv", "machine_measurements.csv"])
def test_mimic_without_a_table(mimic, name):
    (mimic / name).write_text("a,b\n1,2\n")
    with pytest.raises(DBetaError, match=rf"{name}: lacks column .*study_id"):
        SOURCES["mimic-iv-ecg"](mimic)
    (mimic / name).write_text("")
    with pytest.raises(DBetaError, match=rf"{name}: cannot be used"):
        SOURCES["mimic-iv-ecg"](mimic)
    (mimic / name).unlink()
    with pytest.raises(DBetaError, match=f"{name} is missing"):
        SOURCES["mimic-iv-ecg"](mimic)


@pytest.mark.shared
def test_mimic_of_real_records(shared, tmp_path):
    files = sorted((shared / "challenge-2021" / "training" / "georgia").rglob("*.hea"))
    ecgs = [read_ecg(file) for file in files]
    full = [ecg for ecg in ecgs if ecg.duration == 10]
    assert len(full) > 5
    records = [(10_000_000 + i // 2, 40_000_000 + i, ecg, ["Sinus rhythm", "Normal ECG"]) for i, ecg in enumerate(full)]
    counts = build_corpus("mimic-iv-ecg", write_mimic(tmp_path / "mimic", records), tmp_path / "out")
    corpus = load_corpus(tmp_path / "out")
    assert counts["records"] + counts["rejected"] == len(full)
    assert len(corpus) > 5
    by_id = {str(study): ecg for _, study, ecg, _ in records}
    for row in corpus:
        np.testing.assert_allclose(decode_signal(row).signal, by_id[row["record_id"]].signal, atol=0.0031)
    check_patients(corpus.remove_columns("signal").to_pandas())


# --- challenge 2021


def write_challenge(folder, records):
    """Write records in the challenge's layout.

    Args:
        folder: to write to.
        records: sub-dataset, name, ECG, codes.
    """
    for subset, name, ecg, codes in records:
        place = folder / "training" / subset / "g1"
        place.mkdir(parents=True, exist_ok=True)
        samples = np.round(ecg.signal * 1000).astype(np.int16)
        savemat(place / f"{name}.mat", {"val": samples}, format="4")
        lines = [f"{name} 12 {ecg.sampling_rate:g} {samples.shape[1]}"]
        lines += [
            f"{name}.mat 16+24 1000/mV 16 0 {row[0]} {np.int16(row.sum() & 0x7FFF)} 0 {lead}"
            for lead, row in zip(LEADS, samples, strict=True)
        ]
        lines += ["#Age: 61", "#Sex: Female", f"#Dx: {','.join(codes)}", "#Rx: Unknown", "#Hx: Unknown", "#Sx: Unknown"]
        (place / f"{name}.hea").write_text("\n".join(lines) + "\n")
    return folder


AF, NSR, RBBB, CRBBB, BBB, PAC, SVPB, PVC, VPB, VEB, SB, BRADY, HF = (
    "164889003",
    "426783006",
    "59118001",
    "713427006",
    "6374002",
    "284470004",
    "63593006",
    "427172004",
    "17338001",
    "164884008",
    "426177001",
    "426627000",
    "84114007",
)


@pytest.fixture
def challenge(tmp_path, make_ecg):
    records = [
        ("cpsc_2018", "A0001", make_ecg(seed=1), [RBBB]),
        ("cpsc_2018", "A0002", make_ecg(seed=2, seconds=7), [AF, VEB]),
        ("georgia", "E00001", make_ecg(seed=3), [CRBBB, SVPB]),
        ("georgia", "E00002", make_ecg(seed=4), [BBB, PAC, HF]),
        ("georgia", "E00003", make_ecg(seed=5), [SB]),
        ("georgia", "E00004", make_ecg(seed=6), [BRADY]),
        ("ptb", "S0001", make_ecg(seed=7, sampling_rate=1000), [NSR]),
        ("ptb", "S0002", make_ecg(seed=8), ["1234567"]),
    ]
    return write_challenge(tmp_path / "challenge", records)


def test_challenge(challenge, tmp_path, make_ecg):
    counts = build_corpus("challenge-2021", challenge, tmp_path / "out")
    assert counts["vocabulary"] == [
        "atrial fibrillation",
        "bradycardia",
        "bundle branch block",
        "premature atrial complex",
        "premature ventricular complex",
        "right bundle branch block",
        "sinus bradycardia",
        "sinus rhythm",
    ]
    rows = rows_of(tmp_path / "out")
    assert rows["A0001"]["findings"] == rows["E00001"]["findings"][1:] == ["right bundle branch block"]
    assert rows["A0002"]["findings"] == ["atrial fibrillation", "premature ventricular complex"]
    assert rows["E00001"]["findings"][0] == rows["E00002"]["findings"][1] == "premature atrial complex"
    assert rows["E00002"]["statements"] == [BBB, PAC, HF]  # heart failure is no finding of an ECG
    assert (rows["A0001"]["age"], rows["A0001"]["sex"], rows["A0001"]["report"]) == (61, "female", "")
    assert rows["A0001"]["patient_id"] == "A0001"
    assert rows["S0001"]["sampling_rate"] == 1000
    assert rows["S0001"]["split"] == rows["S0002"]["split"] == "train"
    stored = load_corpus(tmp_path / "out")
    np.testing.assert_allclose(decode_signal(stored[1]).signal, make_ecg(seed=2, seconds=7).signal, atol=1.01e-3)
    assert counts["rejected"] == 0


def test_what_a_sub_dataset_never_states_is_unknown(challenge):
    source = SOURCES["challenge-2021"](challenge)
    unknown = source.table.set_index("record_id")["unknown"]
    assert "sinus rhythm" in unknown["A0001"]
    assert "atrial fibrillation" not in unknown["A0001"]
    assert "premature ventricular complex" not in unknown["A0001"]
    assert {"atrial fibrillation", "premature ventricular complex"} <= set(unknown["E00001"])
    assert unknown["S0002"] == [one for one in source.vocabulary if one != "sinus rhythm"]
    for _, row in source.table.iterrows():
        assert not set(row["unknown"]) & set(row["findings"])
        assert set(row["unknown"]) | set(row["findings"]) <= set(source.vocabulary)


def test_a_kind_leaves_the_whole_open_and_the_whole_its_kinds(challenge):
    unknown = SOURCES["challenge-2021"](challenge).table.set_index("record_id")["unknown"]
    assert "bundle branch block" in unknown["E00001"]  # has a right bundle branch block
    assert "right bundle branch block" in unknown["E00002"]  # has a bundle branch block of whatever side
    assert "bradycardia" in unknown["E00003"]
    assert "sinus bradycardia" in unknown["E00004"]
    assert "bradycardia" not in unknown["E00001"]


def test_meanings_are_names_that_conditions_have():
    for names in MEANINGS.values():
        assert all(finding_name(name) == name.lower() == find_condition(name).name.lower() for name in names)
    for kinds in KINDS.values():
        assert all(finding_name(kind) == kind for kind in kinds)


def test_pairs_that_the_challenge_scores_as_one_are_one():
    from ecgbench.labels.challenge2021 import load_dx_mapping

    from dbeta.corpus.sources.challenge_2021 import _meanings

    table = load_dx_mapping()
    code = {abbreviation: code for code, abbreviation in table["abbreviation"].items()}
    meaning = _meanings()
    for one, other in (("CLBBB", "LBBB"), ("CRBBB", "RBBB"), ("PAC", "SVPB"), ("PVC", "VPB")):
        assert meaning(code[one]) == meaning(code[other])
    scored = [meaning(number) for number in table.index[table["scored"]]]
    assert len(set(scored)) == 26  # the challenge's own count of classes
    assert all(len(names) == 1 for names in scored)


def test_challenge_of_another_folder(tmp_path):
    with pytest.raises(DBetaError, match=r"cannot be used .*training"):
        SOURCES["challenge-2021"](tmp_path)


@pytest.mark.shared
def test_challenge_of_real_records(shared, tmp_path):
    counts = build_corpus("challenge-2021", shared / "challenge-2021", tmp_path / "out", seconds=30)
    assert counts["records"] + counts["rejected"] == 70
    assert counts["records"] >= 69
    corpus = load_corpus(tmp_path / "out")
    for row in list(corpus)[::9]:
        ecg = read_ecg(shared / "challenge-2021" / row["file"], duration=30)
        valid = np.isfinite(ecg.signal)
        np.testing.assert_allclose(decode_signal(row).signal[valid], ecg.signal[valid], atol=0.00051)
    assert {row["sex"] for row in corpus.remove_columns("signal")} == {"male", "female"}


# --- CODE-15 %

CODE_LABELS = ("1dAVb", "RBBB", "LBBB", "SB", "ST", "AF")


def write_code_15(folder, parts, labels):
    """Write HDF5 parts and `exams.csv` in CODE-15 %'s layout.

    Args:
        folder: to write to.
        parts: for each part, exam → samples (4096, 12) in 1e-4 V.
        labels: exam → its columns that are true.
    """
    folder.mkdir(exist_ok=True)
    rows = []
    for number, part in enumerate(parts):
        name = f"exams_part{number}.hdf5"
        with h5py.File(folder / name, "w") as content:
            tracings = np.stack([*part.values(), np.zeros((4096, 12))]).astype(np.float32)
            content.create_dataset("tracings", data=tracings)
            content.create_dataset("exam_id", data=np.array([*part, 0]))
        for exam in part:
            own = labels.get(exam, [])
            flags = {label: label in own for label in (*CODE_LABELS, "normal_ecg")}
            rows.append(
                {"exam_id": exam, "age": 38, "is_male": exam % 2 == 1, "nn_predicted_age": 40.2}
                | {"patient_id": 500_000 + exam // 10, "death": None, "timey": None, "trace_file": name}
                | flags
            )
    pd.DataFrame(rows[::-1]).to_csv(folder / "exams.csv", index=False)
    return folder


@pytest.fixture
def code_15(tmp_path, make_ecg):
    def tracing(seed):
        padded = np.zeros((4096, 12))
        padded[548:3548] = make_ecg(seconds=7.5, sampling_rate=400, seed=seed).signal.T * 10
        return padded

    parts = [{101: tracing(1), 2: tracing(2), 103: tracing(3)}, {1: tracing(4)}]
    return write_code_15(tmp_path / "code", parts, {101: ["RBBB", "AF"], 2: ["normal_ecg"], 1: ["1dAVb"]})


def test_code_15(code_15, tmp_path, make_ecg):
    counts = build_corpus("code-15", code_15, tmp_path / "out")
    assert counts["vocabulary"] == [
        "atrial fibrillation",
        "first-degree av block",
        "left bundle branch block",
        "normal ecg",
        "right bundle branch block",
        "sinus bradycardia",
        "sinus tachycardia",
    ]
    rows = rows_of(tmp_path / "out")
    assert list(rows) == ["101", "2", "103", "1"]  # as the parts hold them
    assert rows["101"]["findings"] == ["right bundle branch block", "atrial fibrillation"]
    assert rows["101"]["statements"] == ["RBBB", "AF"]
    assert rows["2"]["findings"] == ["normal ecg"]
    assert rows["103"]["findings"] == []
    assert rows["1"]["file"] == "exams_part1.hdf5#1"  # the exam, not the row
    assert [rows[name]["sex"] for name in rows] == ["male", "female", "male", "male"]
    assert rows["101"]["patient_id"] == rows["103"]["patient_id"] == "500010"
    assert (rows["101"]["sampling_rate"], rows["101"]["report"]) == (400, "")
    for seed, row in enumerate(load_corpus(tmp_path / "out"), start=1):  # in mV, without the padding
        expected = make_ecg(seconds=7.5, sampling_rate=400, seed=seed)
        np.testing.assert_allclose(decode_signal(row).signal, expected.signal, atol=0.00052)


def test_code_15_of_some_parts(code_15, tmp_path):
    (code_15 / "exams_part1.hdf5").unlink()
    source = SOURCES["code-15"](code_15)
    assert source.table["record_id"].tolist() == ["101", "2", "103"]
    assert any("1 of 2 parts" in note for note in source.notes)
    (code_15 / "exams_part0.hdf5").write_bytes(b"no HDF5")
    with pytest.raises(DBetaError, match="no record is readable"):
        build_corpus("code-15", code_15, tmp_path / "out")
    (code_15 / "exams_part0.hdf5").unlink()
    with pytest.raises(DBetaError, match=r"exams_part0\.hdf5 and all other parts are missing"):
        SOURCES["code-15"](code_15)
    (code_15 / "exams.csv").unlink()
    with pytest.raises(DBetaError, match=r"exams\.csv"):
        SOURCES["code-15"](code_15)


def test_an_exam_that_its_part_lacks_is_rejected(code_15, tmp_path):
    with h5py.File(code_15 / "exams_part0.hdf5", "a") as content:
        content["exam_id"][1] = 77
    counts = build_corpus("code-15", code_15, tmp_path / "out")
    assert (counts["records"], counts["rejected"]) == (3, 1)
    assert "exams_part0.hdf5#2" in (tmp_path / "out" / "rejected.csv").read_text()


@pytest.mark.shared
def test_code_15_of_real_records(shared, tmp_path):
    raw = tmp_path / "code"
    raw.mkdir()
    (raw / "exams_part0.hdf5").symlink_to(shared / "code-15" / "exams_part0.hdf5")
    exams = pd.read_csv(shared / "code-15" / "exams.csv")
    exams = exams.assign(is_male=exams["sex"] == "Male", patient_id=exams["exam_id"], trace_file="exams_part0.hdf5")
    exams = exams.assign(
        nn_predicted_age=0.0, death=None, timey=None, normal_ecg=False, **dict.fromkeys(CODE_LABELS, False)
    )
    exams.drop(columns="sex").to_csv(raw / "exams.csv", index=False)
    counts = build_corpus("code-15", raw, tmp_path / "out")
    assert (counts["records"], counts["rejected"]) == (60, 0)
    for row in list(load_corpus(tmp_path / "out"))[::11]:
        ecg = read_ecg(raw / "exams_part0.hdf5", record=row["record_id"])
        np.testing.assert_allclose(decode_signal(row).signal, ecg.signal, atol=0.00051)
        assert ecg.signal[:, [0, -1]].any(axis=0).all()


# --- a manifest


@pytest.fixture
def archive(tmp_path, make_ecg):
    """A folder with recordings; a function that writes its manifest."""
    folder = tmp_path / "archive"
    (folder / "sub").mkdir(parents=True)
    for number in range(4):
        ecg = make_ecg(seed=number)
        table = pd.DataFrame(ecg.signal.T, columns=list(LEADS))
        table.to_csv(folder / "sub" / f"{number}.csv", index=False)

    def write(name="list.csv", **columns):
        count = len(next(iter(columns.values()))) if columns else 4
        paths = {"path": [f"sub/{number}.csv" for number in range(count)], "sampling_rate": [500] * count}
        table = pd.DataFrame({**paths, **columns})
        file = folder / name
        table.to_parquet(file) if name.endswith("parquet") else table.to_csv(file, index=False)
        return file

    return write


@pytest.mark.parametrize("name", ["list.csv", "list.parquet"])
def test_manifest(archive, tmp_path, make_ecg, name):
    texts = {
        "report": ["*** Sinus rhythm ***", "", "EKG normal", None],
        "patient_id": ["p1", "p1", "p2", None],
        "split": ["train", "", "test", "val"],
        "findings": ["LBBB; sinus rhythm", "", "Normal ECG", "something odd"],
        "age": [50, None, 61.5, None],
        "sex": ["M", "female", "unknown", None],
        "device": ["CS-12", None, "", "AT-6"],
        "record_id": ["a", "b", "c", None],
    }
    raw = archive(name, **texts)
    counts = build_corpus("manifest", raw, tmp_path / "out")
    assert counts["vocabulary"] == ["left bundle branch block", "normal ecg", "sinus rhythm", "something odd"]
    rows = rows_of(tmp_path / "out")
    assert list(rows) == ["a", "b", "c", "sub/3.csv"]
    assert [row["report"] for row in rows.values()] == ["sinus rhythm", "", "ecg normal", ""]
    assert [row["patient_id"] for row in rows.values()] == ["p1", "p1", "p2", "sub/3.csv"]
    assert [row["split"] for row in rows.values()] == ["train", "train", "test", "validation"]
    assert rows["a"]["findings"] == ["left bundle branch block", "sinus rhythm"]
    assert rows["b"]["findings"] == []
    assert [row["sex"] for row in rows.values()] == ["male", "female", "unknown", "unknown"]
    assert [row["device"] for row in rows.values()] == ["CS-12", "", "", "AT-6"]
    np.testing.assert_array_equal([row["age"] for row in rows.values()], [50, np.nan, 61.5, np.nan])
    stored = load_corpus(tmp_path / "out")[2]
    np.testing.assert_allclose(decode_signal(stored).signal, make_ecg(seed=2).signal, atol=0.00051)


def test_a_manifest_of_paths_alone(archive, tmp_path):
    counts = build_corpus("manifest", archive(), tmp_path / "out")
    assert (counts["records"], counts["patients"], counts["vocabulary"]) == (4, 4, [])
    rows = rows_of(tmp_path / "out")
    assert all(row["split"] in ("train", "validation", "test") and row["report"] == "" for row in rows.values())


def test_lists_and_numbers_of_a_parquet_manifest(archive):
    source = SOURCES["manifest"](
        archive(
            "list.parquet",
            findings=[["AFIB", "LVH"], [], ["LVH"], []],
            vocabulary=[["AFIB", "LVH"], ["AFIB"], ["LVH"], ["PVC"]],
            statements=[["x"], [], [], []],
            patient_id=[7.0, None, 7.0, 8.0],
        )
    )
    assert source.vocabulary == ["atrial fibrillation", "left ventricular hypertrophy", "premature ventricular complex"]
    assert source.table["unknown"].tolist()[1] == ["left ventricular hypertrophy", "premature ventricular complex"]
    assert source.table["unknown"].tolist()[0] == ["premature ventricular complex"]
    assert source.table["patient_id"].tolist() == ["7", "sub/1.csv", "7", "8"]
    check_patients(source.table)


def test_what_the_file_says_fills_in_for_a_silent_manifest(shared_dicom, tmp_path):
    path, ecg = shared_dicom
    raw = tmp_path / "list.csv"
    raw.write_text(f"path\n{path}\n")
    build_corpus("manifest", raw, tmp_path / "out")
    (row,) = rows_of(tmp_path / "out").values()
    assert row["device"] == ecg.meta.get("device", "")
    assert row["sex"] == ecg.meta.get("sex", "unknown")


@pytest.fixture
def shared_dicom():
    """The DICOM ECG that pydicom ships."""
    from pydicom.data import get_testdata_file

    path = get_testdata_file("waveform_ecg.dcm")
    return path, read_ecg(path)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"patient_id": ["p", "p"], "split": ["train", "test"]}, r"list\.csv: patient p is in two splits"),
        ({"split": ["train", "holdout"]}, "column split holds 'holdout'; write train, validation or test"),
        ({"path": ["a.csv", ""]}, "column path is empty in row 2"),
        ({"path": ["a.csv", "a.csv"]}, r"lists record a\.csv twice"),
        ({"vocabulary": ["a", "b"]}, "column vocabulary but no column findings"),
        ({"findings": [0, 1]}, r"column findings holds '0' in row 1, .*as \"atrial fibrillation; LBBB\""),
        ({"findings": ["", "AFIB; 1.0"]}, r"column findings holds '1\.0' in row 2"),
        ({"findings": ["AFIB", "no"]}, "column findings holds 'no' in row 2"),
        ({"findings": ["[1, 0]", ""]}, "column findings holds '1' in row 1"),
        ({"findings": ["", "AFIB, odd"]}, "holds 'AFIB, odd' in row 2, which may be .* separate findings by \";\""),
        ({"findings": ["odd|even", ""]}, "holds 'odd.even' in row 1, .*separate findings by \";\""),
        ({"unit": ["uV", ""], "units": ["uV", ""]}, "two columns units; keep one"),
        ({"unit": ["uV", "furlong"]}, "column units holds 'furlong' in row 2"),
        ({"findings": ["164889003", ""]}, "codes into a column statements"),
        ({"findings": ["AFIB", ""], "vocabulary": ["AFIB", "1"]}, "column vocabulary holds '1' in row 2"),
        ({"units": ["uV", "furlong"]}, "column units holds 'furlong' in row 2; write uV, mV, 1e-4 V or 200/mV"),
        ({"sampling_rate": ["500 Hz", ""]}, "column sampling_rate holds '500 Hz' in row 1; write a number of Hz"),
        ({"sampling_rate": [0, 500]}, "column sampling_rate holds '0' in row 1"),
        ({"Report": ["a", "b"], "report": ["c", "d"]}, "two columns report; keep one"),
    ],
)
def test_mistakes_in_a_manifest_are_named(archive, columns, message):
    with pytest.raises(DBetaError, match=message):
        SOURCES["manifest"](archive(**columns))


@pytest.mark.parametrize("text", ["AFIB,LBBB", "AFIB | LBBB", "['AFIB', 'LBBB']", '["AFIB","LBBB"]', "[AFIB; LBBB]"])
def test_findings_that_are_separated_otherwise(archive, text):
    source = SOURCES["manifest"](archive(findings=[text, "odd, even", "[]", "AF/flutter"]))
    assert source.table["findings"].tolist() == [
        ["atrial fibrillation", "left bundle branch block"],
        ["odd, even"],
        [],
        ["af/flutter"],
    ]


@pytest.mark.parametrize("findings", [[True, False], [0, 1], [1.0, None]])
def test_truth_values_in_a_parquet_manifest_are_refused(archive, findings):
    with pytest.raises(DBetaError, match=r"column findings holds '\w+' in row 1, which is not the name"):
        SOURCES["manifest"](archive("list.parquet", findings=findings))


def test_columns_that_are_not_known_are_named(archive):
    raw = archive(label=[0, 1], Site=["a", "b"])
    with pytest.warns(DBetaWarning) as caught:
        source = SOURCES["manifest"](raw)
    (said,) = [str(one.message) for one in caught]
    assert f"{raw}: uses the columns path, sampling_rate and ignores label, Site" in said
    assert "labels are read from a column findings" in said
    assert source.vocabulary == []
    with pytest.warns(DBetaWarning, match="ignores label") as caught:
        SOURCES["manifest"](archive(label=[0, 1], findings=["AFIB", ""]))
    assert "labels are read" not in str(caught[0].message)


def test_ages_and_sexes_that_are_not_understood_are_warned_of(archive):
    with pytest.warns(DBetaWarning) as caught:
        source = SOURCES["manifest"](archive(age=["50", "", ">89"], sex=["0", "f", "unknown"]))
    assert [str(one.message).split(": ", 1)[1] for one in caught] == [
        "column age holds '>89', which is not a number of years and counts as unknown (1 of 3 records)",
        "column sex holds '0', which is not male or female and counts as unknown (1 of 3 records)",
    ]
    np.testing.assert_array_equal(source.table["age"], [50, np.nan, np.nan])
    assert source.table["sex"].tolist() == ["unknown", "female", "unknown"]


def in_counts(archive, make_ecg, **columns):
    """A manifest of two `.npy` files: whole numbers of microvolts, and of 5 µV."""
    raw = archive(path=["a.npy", "b.npy"], sampling_rate=["", ""], **columns)
    for name, step in (("a", 1), ("b", 5)):
        np.save(raw.parent / f"{name}.npy", np.round(make_ecg().signal * 1000 / step).astype(np.int16))
    return raw


def test_units_of_a_manifest(archive, tmp_path, make_ecg):
    raw = in_counts(archive, make_ecg, units=["uV", "200/mV"], leads=[",".join(LEADS)] * 2)
    table = pd.read_csv(raw, dtype=str, keep_default_na=False)
    table.assign(sampling_rate="500").to_csv(raw, index=False)
    counts = build_corpus("manifest", raw, tmp_path / "out")
    assert counts["records"] == 2
    for row in load_corpus(tmp_path / "out"):
        np.testing.assert_allclose(decode_signal(row).signal, make_ecg().signal, atol=0.0026)


def test_units_rate_and_leads_by_option_for_the_empty_cells(archive, tmp_path, make_ecg, run):
    raw = in_counts(archive, make_ecg, units=["", "200/mV"])
    options = ["--units", "uV", "--fs", "500", "--leads", ",".join(LEADS)]
    code, _, err = run("corpus", "build", "manifest", raw, tmp_path / "out", *options)
    assert code == 0, err
    for row in load_corpus(tmp_path / "out"):
        np.testing.assert_allclose(decode_signal(row).signal, make_ecg().signal, atol=0.0026)
    card = (tmp_path / "out" / "README.md").read_text()
    assert f"--fs 500 --leads {','.join(LEADS)} --units uV" in card
    code, _, err = run("corpus", "build", "ptb-xl", tmp_path, tmp_path / "other", "--units", "uV")
    assert code == 1
    assert "--units: ptb-xl states how its files are to be read; leave out --units" in err


def test_a_build_that_fails_leaves_no_folder_behind(archive, tmp_path, run):
    raw = archive(split=["train", "holdout"])
    assert run("corpus", "build", "manifest", raw, tmp_path / "deep" / "down" / "out")[0] == 1
    assert not (tmp_path / "deep").exists()


def test_what_is_no_manifest(tmp_path):
    (tmp_path / "a.csv").write_text("file,text\nx,y\n")
    with pytest.raises(DBetaError, match=r"a\.csv: has no column path \(its columns: file, text\)"):
        SOURCES["manifest"](tmp_path / "a.csv")
    (tmp_path / "b.txt").write_text("x")
    for path in (tmp_path, tmp_path / "b.txt"):
        with pytest.raises(DBetaError, match="not a manifest"):
            SOURCES["manifest"](path)
    (tmp_path / "c.parquet").write_text("x")
    with pytest.raises(DBetaError, match=r"c\.parquet: cannot be used"):
        SOURCES["manifest"](tmp_path / "c.parquet")
    (tmp_path / "d.csv").write_text("path\n")
    with pytest.raises(DBetaError, match="no records found"):
        SOURCES["manifest"](tmp_path / "d.csv")
