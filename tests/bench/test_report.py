"""Rounds become medians, ratios to the first server, and words where there is no number."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

import orjson
import pytest

from bench.driver.picture import draw
from bench.driver.process import Memory
from bench.driver.report import Line, Round, digits, document, ratio, summarize, table
from bench.driver.workloads import WORKLOADS, Measure

MEASURE = Measure(value=10.0, p50_ms=1.0, p99_ms=2.0, count=40, cpu_ms=0.5, written_kib=4.0, syncs=1.0, driver_us=9.0)
MEMORY = Memory(rss_anon=40.0, rss=50.0, rss_peak=60.0)
SVG = "{http://www.w3.org/2000/svg}"


def rounds(*values: float) -> list[Round]:
    return [
        Round(0.5, measures={"whoami": replace(MEASURE, value=value)}, memory_idle=MEMORY, memory_after=MEMORY)
        for value in values
    ]


def whoami(lines: list[Line]) -> Line:
    return next(line for line in lines if line.key == "whoami")


def test_value_is_the_median_of_the_rounds() -> None:
    line = whoami(summarize(rounds(30.0, 10.0, 20.0), ["whoami"]))
    assert (line.value, line.lowest, line.highest) == (20.0, 10.0, 30.0)


def test_lines_follow_the_workloads_asked_for() -> None:
    lines = summarize(rounds(1.0), [workload.key for workload in WORKLOADS])
    assert [line.key for line in lines][: len(WORKLOADS)] == [workload.key for workload in WORKLOADS]
    assert [line.key for line in summarize(rounds(1.0), ["whoami"])][:2] == ["whoami", "memory_idle_rss_anon"]


@pytest.mark.parametrize("word", ["skipped", "failed"])
def test_workload_without_a_measure_says_why(word: str) -> None:
    each = Round(0.5)
    getattr(each, word)["whoami"] = "M_UNRECOGNIZED (404)"
    line = whoami(summarize([each], ["whoami"]))
    assert line.value is None
    assert line.note == f"{word}: M_UNRECOGNIZED (404)"


def test_one_failed_round_is_not_hidden_by_another() -> None:
    good, bad = rounds(10.0)[0], Round(0.5, failed={"whoami": "500"})
    assert whoami(summarize([good, bad], ["whoami"])).note == "failed: 500"


def test_syncs_that_no_round_knows_stay_unknown() -> None:
    each = Round(0.5, measures={"whoami": replace(MEASURE, syncs=None)})
    measure = whoami(summarize([each], ["whoami"])).measure
    assert measure is not None
    assert measure.syncs is None


def test_ratio_is_to_the_first() -> None:
    assert ratio(30.0, 10.0) == 3.0
    assert ratio(None, 10.0) is None
    assert ratio(10.0, None) is None
    assert ratio(10.0, 0.0) is None


def test_digits_are_three() -> None:
    assert [digits(value) for value in (1234.5, 12.34, 1.234, 0.1234, None)] == ["1234", "12.3", "1.23", "0.123", "-"]


def test_table_has_a_row_for_each_server() -> None:
    lines = {"first": summarize(rounds(10.0), ["whoami"]), "second": summarize(rounds(25.0), ["whoami"])}
    block = table(lines).split("\n\n")[1].splitlines()
    assert block[0] == "whoami, /s (higher is better)"
    assert block[1].split()[:3] == ["first", "10.0", "1.00"]
    assert block[2].split()[:3] == ["second", "25.0", "2.50"]


def test_document_can_be_read_back() -> None:
    of_servers = {"first": rounds(10.0), "second": rounds(25.0, 35.0)}
    lines = {name: summarize(each, ["whoami"]) for name, each in of_servers.items()}
    read = orjson.loads(orjson.dumps(document(lines, of_servers, {"started": "now"})))
    assert read["started"] == "now"
    assert read["summary"]["second"][0]["ratio_to_first"] == 3.0
    assert read["rounds"]["second"][1]["measures"]["whoami"]["value"] == 35.0
    assert read["rounds"]["first"][0]["memory_idle"]["rss_anon"] == 40.0


def test_picture_has_a_bar_for_each_value_on_a_shared_scale() -> None:
    lines = {"<first>": summarize(rounds(10.0), ["whoami"]), "second": summarize(rounds(40.0), ["whoami"])}
    root = ElementTree.fromstring(draw(lines, "a & b"))
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert {"a & b", "<first>", "40.0  (4.00x)"} <= set(texts)
    bars = [float(rect.attrib["width"]) for rect in root.iter(f"{SVG}rect") if "x" in rect.attrib][2:]
    assert len(bars) == 2 * len(lines["second"])
    assert bars[1] == pytest.approx(4 * bars[0])


def test_picture_names_what_was_skipped() -> None:
    lines = {"first": summarize([Round(0.5, skipped={"whoami": "M_UNRECOGNIZED (404)"})], ["whoami"])}
    assert "skipped: M_UNRECOGNIZED (404)" in draw(lines, "a")
