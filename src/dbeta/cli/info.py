"""The command `dbeta info`."""

from __future__ import annotations

import json

from dbeta.cli.options import (
    AsJson,
    FixLeads,
    KeepIdentifiers,
    Leads,
    OneFile,
    RawGain,
    Record,
    SamplingRate,
    Units,
    reading_options,
)
from dbeta.errors import DBetaError, NoSignalError
from dbeta.io.read import read_ecg
from dbeta.report.console import print_facts, print_quality


def info(
    file: OneFile,
    fs: SamplingRate = None,
    leads: Leads = None,
    record: Record = None,
    units: Units = None,
    raw_gain: RawGain = None,
    fix_leads: FixLeads = False,
    keep_identifiers: KeepIdentifiers = False,
    as_json: AsJson = False,
) -> None:
    """Show what a recording contains, and its signal quality.

    Sampling rate, length, patient, report, and per lead the voltage and signal quality in the first minute.

    Example: dbeta info record.hea
    """
    from dbeta.report.facts import facts_of
    from dbeta.signal.quality import ASSESSED, assess_quality

    options = reading_options(fs, leads, record, units, raw_gain, fix_leads)
    try:
        ecg = read_ecg(file, duration=ASSESSED, keep_identifiers=keep_identifiers, **options)
    except NoSignalError as error:
        if error.duration is None or error.duration <= ASSESSED:
            raise
        raise DBetaError(
            f"{file}: has no signal in its first {ASSESSED:g} s of {error.duration:.0f} s, which is all that info "
            "reads; dbeta diagnose --windows finds where there is signal"
        ) from error
    quality = assess_quality(ecg)
    facts = facts_of(ecg, quality)
    if as_json:
        print(json.dumps(facts, indent=2, default=str))
        return
    print_facts(facts)
    print_quality(quality, facts["peak_to_peak_mv"])
