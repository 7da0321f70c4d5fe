import csv
import re
from collections import Counter
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import pytest
import yaml

from dbeta.conditions.registry import (
    SUPER_CLASSES,
    Condition,
    condition_of_label,
    default_conditions,
    find_condition,
    load_conditions,
    super_class_conditions,
)
from dbeta.errors import DBetaError

STATEMENTS = Path(__file__).parents[3] / "shared" / "data" / "ptb-xl" / "scp_statements.csv"

CONDITIONS = load_conditions()
AGGREGATES = {"MI", "STTC", "CD", "HYP"}

LABELS = {
    "ptb-xl-sub": "NORM AMI IMI LMI PMI STTC NST ISC ISCA ISCI LAFB/LPFB IRBBB CRBBB CLBBB ILBBB IVCD AVB WPW LVH RVH "
    "LAO/LAE RAO/RAE SEHYP",
    "cpsc2018": "AFIB VPC NORM 1AVB CRBBB STE PAC CLBBB STD",
    "csn": "AQW UW SR SB ST SA WPW 1AVB 2AVB 2AVB1 AVB AT SVT AF AFIB VB VPB APB VEB JEB ARS ALS STTC STE STTU STDD "
    "TWO TWC PWC PRIE QTIE CCR CR LBBB RBBB RVH LVH MI ERV LVQRSAL IDC",
    "challenge-2021": "AF AFL BBB Brady CLBBB CRBBB IAVB IRBBB LAD LAnFB PRWP PR LPR LQRSV LQT NSIVCB NSR PAC PVC QAb "
    "RAD SA SB STach TAb TInv",
    "code": "1dAVb RBBB LBBB SB AF ST normal_ecg",
}


def folded(text: str) -> str:
    return re.sub(r"[\s_-]+", " ", text).strip().casefold()


def specific_statements() -> list[str]:
    return [code for c in CONDITIONS.values() if c.super_class not in AGGREGATES for code in c.statements]


def test_yaml_has_exactly_the_documented_fields():
    entries = yaml.safe_load(files("dbeta.conditions").joinpath("conditions.yaml").read_text(encoding="utf-8"))
    for key, entry in entries.items():
        required = {"name", "synonyms", "description", "for", "against", "statements"}
        assert required <= set(entry) <= required | {"labels", "super_class", "default", "leads"}, key
        assert entry.get("default", True) is True, key


def offenders(rule: Callable[[Condition], bool]) -> list[str]:
    """Keys of the conditions that break a rule."""
    return [condition.key for condition in CONDITIONS.values() if not rule(condition)]


def test_keys_are_snake_case():
    assert offenders(lambda c: re.fullmatch(r"[a-z][a-z0-9_]*", c.key) is not None) == []


def test_conditions_have_one_to_six_synonyms():
    assert offenders(lambda c: 1 <= len(c.synonyms) <= 6) == []


def test_texts_are_single_lines_without_surrounding_space():
    def clean(text: object) -> bool:
        return isinstance(text, str) and text == text.strip() != "" and "\n" not in text

    assert offenders(lambda c: all(map(clean, (c.name, c.description, *c.synonyms)))) == []


def test_descriptions_are_at_least_six_words_without_a_full_stop():
    assert offenders(lambda c: len(c.description.split()) >= 6 and not c.description.endswith(".")) == []


def test_statements_look_like_scp_codes():
    code = re.compile(r"[A-Z0-9][A-Z0-9_/()]{1,6}")
    assert offenders(lambda c: all(map(code.fullmatch, c.statements))) == []


def test_conditions_have_two_to_four_observations_for_and_against():
    assert offenders(lambda c: 2 <= len(c.findings_for) <= 4 and 2 <= len(c.findings_against) <= 4) == []


def test_observations_of_a_condition_differ():
    def differ(c: Condition) -> bool:
        both = [folded(text) for text in (*c.findings_for, *c.findings_against)]
        return len(set(both)) == len(both)

    assert offenders(differ) == []


def test_observations_are_phrases_of_three_to_sixteen_words():
    def phrase(text: str) -> bool:
        return text == " ".join(text.split()) and 3 <= len(text.split()) <= 16 and not text.endswith(".")

    both = [text for c in CONDITIONS.values() for text in (*c.findings_for, *c.findings_against)]
    assert [text for text in both if not phrase(text)] == []


def test_observations_become_lower_case_prompts():
    def lowered(c: Condition) -> bool:
        both = (*c.findings_for, *c.findings_against)
        return (*c.prompts_for, *c.prompts_against) == tuple(text.lower() for text in both)

    assert offenders(lowered) == []


def test_each_condition_has_observations_of_its_own():
    owners = Counter(frozenset(map(folded, c.findings_for)) for c in CONDITIONS.values())
    assert max(owners.values()) == 1


def test_yaml_repeats_no_key():
    text = files("dbeta.conditions").joinpath("conditions.yaml").read_text(encoding="utf-8")
    assert len(re.findall(r"^\w+:", text, re.MULTILINE)) == len(CONDITIONS)


def test_no_wording_belongs_to_two_conditions_or_is_given_twice():
    wordings = Counter(folded(text) for c in CONDITIONS.values() for text in (c.name, *c.synonyms))
    assert [wording for wording, times in wordings.items() if times > 1] == []
    owners: dict[str, set[str]] = {}
    for c in CONDITIONS.values():
        for text in (c.key, c.name, *c.synonyms):
            owners.setdefault(folded(text), set()).add(c.key)
    assert {wording: keys for wording, keys in owners.items() if len(keys) > 1} == {}


def test_each_of_the_71_statements_belongs_to_one_condition():
    codes = specific_statements()
    assert len(codes) == len(set(codes)) == 71


def test_aggregate_super_classes_share_no_statement_and_are_covered_by_specific_conditions():
    aggregate = [code for key in AGGREGATES for code in super_class_conditions()[key].statements]
    assert len(aggregate) == len(set(aggregate)) == 43
    assert set(aggregate) < set(specific_statements())


@pytest.mark.shared
@pytest.mark.skipif(not STATEMENTS.exists(), reason="needs PTB-XL's scp_statements.csv")
def test_statements_are_those_of_ptb_xl():
    with STATEMENTS.open(encoding="utf-8") as file:
        rows = {row[""]: row["diagnostic_class"] for row in csv.DictReader(file)}
    assert set(specific_statements()) == set(rows)
    for key, condition in super_class_conditions().items():
        assert set(condition.statements) == {code for code, name in rows.items() if name == key}


@pytest.mark.parametrize("benchmark", LABELS)
def test_each_label_of_a_benchmark_means_one_condition(benchmark):
    given = Counter(label for c in CONDITIONS.values() for label in c.labels.get(benchmark, ()))
    assert given == Counter(LABELS[benchmark].split())
    for c in CONDITIONS.values():
        assert all(condition_of_label(benchmark, label) is c for label in c.labels.get(benchmark, ()))


def test_labels_are_of_known_benchmarks():
    assert {benchmark for c in CONDITIONS.values() for benchmark in c.labels} == set(LABELS)


def test_labels_that_differ_in_extent_mean_different_conditions():
    apart = [("2AVB", "2AVB1"), ("1AVB", "AVB"), ("TWO", "TWC"), ("AT", "SVT"), ("AF", "AFIB"), ("VB", "VPB")]
    for one, other in apart:
        assert condition_of_label("csn", one) is not condition_of_label("csn", other)
    assert condition_of_label("csn", "AF").key == "atrial_flutter"
    assert condition_of_label("ptb-xl-sub", "AMI") is not condition_of_label("ptb-xl", "AMI")
    assert condition_of_label("ptb-xl-sub", "STTC") is not condition_of_label("ptb-xl-super", "STTC")


def test_each_statement_is_found_as_a_label():
    for code in specific_statements():
        found = condition_of_label("ptb-xl", code)
        assert code in found.statements
        assert found.super_class not in AGGREGATES
        assert condition_of_label("ptb-xl", code.strip("_")) is found
    assert {name: condition_of_label("ptb-xl-super", name) for name in SUPER_CLASSES} == super_class_conditions()


@pytest.mark.shared
@pytest.mark.skipif(not STATEMENTS.exists(), reason="needs PTB-XL's scp_statements.csv")
def test_subclasses_are_those_of_ptb_xl():
    members: dict[str, list[str]] = {}
    with STATEMENTS.open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["diagnostic_subclass"]:
                members.setdefault(row["diagnostic_subclass"].strip("_"), []).append(row[""])
    assert set(members) == set(LABELS["ptb-xl-sub"].split())
    for subclass, codes in members.items():
        found = condition_of_label("ptb-xl-sub", subclass)
        if len(codes) == 1:
            assert found is condition_of_label("ptb-xl", codes[0])
        else:
            assert found.statements == ()


@pytest.mark.parametrize(
    ("benchmark", "label", "named"),
    [
        ("ptb-xl", "AF", r"AF: unknown label of the benchmark ptb-xl; choose one of NORM, "),
        ("csn", "afib", "afib: unknown label of the benchmark csn"),
        ("mit-bih", "AFIB", r"mit-bih: unknown benchmark; choose one of ptb-xl, ptb-xl-super, "),
    ],
)
def test_an_unknown_label_is_named(benchmark, label, named):
    with pytest.raises(DBetaError, match=named):
        condition_of_label(benchmark, label)


def test_a_condition_can_be_hashed():
    assert len(set(CONDITIONS.values())) == len(CONDITIONS)


def test_five_super_classes_in_order():
    found = super_class_conditions()
    assert tuple(found) == SUPER_CLASSES == ("NORM", "MI", "STTC", "CD", "HYP")
    assert [c.super_class for c in CONDITIONS.values() if c.super_class] == list(SUPER_CLASSES)
    assert [c.name for c in found.values()] == [
        "normal ECG",
        "myocardial infarction",
        "ST/T change",
        "conduction disturbance",
        "hypertrophy",
    ]


def test_about_twenty_defaults():
    defaults = default_conditions()
    assert 18 <= len(defaults) <= 24
    assert all(c.default for c in defaults)
    assert {"normal_ecg", "atrial_fibrillation", "left_bundle_branch_block"} <= {c.key for c in defaults}


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("atrial_fibrillation", "atrial_fibrillation"),
        ("Atrial Fibrillation", "atrial_fibrillation"),
        ("AFIB", "atrial_fibrillation"),
        ("lbbb", "left_bundle_branch_block"),
        ("first degree AV block", "first_degree_av_block"),
        (" T wave  inversion ", "t_wave_inversion"),
        ("NORMAL ecg", "normal_ecg"),
        ("Ischaemia in inferior leads", "inferior_ischemia"),
        ("STEMI", "acute_st_elevation_myocardial_infarction"),
    ],
)
def test_find_condition_by_key_name_or_synonym(text, key):
    found = find_condition(text)
    assert found is not None
    assert found.key == key


@pytest.mark.parametrize("text", ["", "fracture of the wrist", "atrial"])
def test_find_condition_knows_what_it_does_not_know(text):
    assert find_condition(text) is None


def test_every_wording_finds_its_condition():
    for c in CONDITIONS.values():
        assert all(find_condition(text) is c for text in (c.key, c.name, *c.synonyms))


def test_prompts_are_lower_case_name_synonyms_and_description():
    condition = CONDITIONS["left_bundle_branch_block"]
    assert condition.prompts[:2] == ("left bundle branch block", "lbbb")
    assert len(condition.prompts) == len(condition.synonyms) + 2
    assert condition.prompts[-1].startswith("left bundle branch block: qrs of 120 ms or more")
    assert all(text == text.lower() for text in condition.prompts)


def test_a_caller_cannot_change_the_table():
    load_conditions().clear()
    assert len(load_conditions()) == len(CONDITIONS) > 70
