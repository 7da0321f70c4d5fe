import pytest

from dbeta.io.identity import Identity

ERIKA = Identity("MRN-0815", "Erika Block-Mustermann", "1951-03-27", ("Ratched^Mildred", "A77"))


@pytest.mark.parametrize(
    ("report", "left"),
    [
        ("Sinus rhythm; Left bundle branch block", "Sinus rhythm; Left bundle branch block"),
        ("Mustermann, ERIKA: sinus rhythm", "…, …: sinus rhythm"),
        ("Sinus rhythm; Confirmed by HOUSE, G (12) on 1-APR-2020; LVH", "Sinus rhythm; LVH"),
        ("LVH; Electronically signed by Dr. House", "LVH"),
        ("LVH *** Unconfirmed *** Referred by: House", "LVH *** Unconfirmed"),
        ("no change since 27.03.1951 (mrn-0815)", "no change since … (…)"),
        ("born 1951-03-27, 19510327, 03/27/1951 or 27-Mar-1951", "born …, …, … or …"),
        ("seen by Mildred Ratched", "seen by … …"),
        ("Erikasson's sign", "Erikasson's sign"),
        ("", ""),
    ],
)
def test_names_and_signatures_are_taken_out(report, left):
    assert ERIKA.without(report) == left


@pytest.mark.parametrize(
    "day",
    [
        "1.2.1960",
        "01.02.1960",
        "1/2/1960",
        "2/1/1960",
        "02/01/60",
        "01.02.60",
        "1.2.60",
        "1-2-1960",
        "1. 2. 1960",
        "1960-02-01",
        "1960/2/1",
        "19600201",
        "01-FEB-1960",
        "1-Feb-60",
        "1Feb1960",
        "1 Feb 1960",
        "1 February 1960",
        "Feb 1, 1960",
        "February 1st, 1960",
        "Feb. 1 1960",
        "01 02 1960",
    ],
)
def test_the_birth_date_in_any_spelling(day):
    who = Identity(birth_date="1960-02-01")
    assert who.without(f"DOB {day}, sinus rhythm") == "DOB …, sinus rhythm"
    assert who.without(f"DOB:{day}") == "DOB:…"
    for other in (f"1{day}", f"{day}7"):
        assert who.without(f"seen {other} again") == f"seen {other} again"


def test_who_is_not_known_takes_nothing_out():
    assert Identity().without("Sinus rhythm of 70/min; A 1 b") == "Sinus rhythm of 70/min; A 1 b"
    assert Identity().facts() == {}
    assert Identity("1").facts() == {}


def test_what_is_handed_on_when_asked_for():
    assert ERIKA.facts() == {"patient_name": "Erika Block-Mustermann", "birth_date": "1951-03-27"}
