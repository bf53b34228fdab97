"""Counting, and the page that Prometheus reads."""

from __future__ import annotations

import math
import re
import threading

import pytest

from conduit_py.metrics import LABEL_SETS_MAX, OTHER, Counter, Gauge, Histogram, Metric, Metrics, ReadSamples


def lines(metric: Metric) -> list[str]:
    return list(metric.lines())


def test_counter_counts_by_label() -> None:
    counter = Counter("n_total", "Help.", ("method", "status"))
    counter.add("GET", "200")
    counter.add("GET", "200", amount=2)
    counter.add("PUT", "500")
    assert counter.get("GET", "200") == 3
    assert lines(counter) == ['n_total{method="GET",status="200"} 3', 'n_total{method="PUT",status="500"} 1']


def test_counter_without_labels_starts_at_zero() -> None:
    assert lines(Counter("n_total", "Help.")) == ["n_total 0"]


def test_counter_does_not_shrink() -> None:
    counter = Counter("n_total", "Help.")
    with pytest.raises(ValueError, match="cannot shrink"):
        counter.add(amount=-1)
    assert counter.get() == 0


def test_wrong_number_of_labels_is_refused() -> None:
    with pytest.raises(ValueError, match="takes the labels"):
        Counter("n_total", "Help.", ("method",)).add("GET", "200")


def test_labels_out_of_hand_are_counted_together() -> None:
    counter = Counter("n_total", "Help.", ("name",))
    for number in range(LABEL_SETS_MAX + 5):
        counter.add(str(number))
    counter.add("3")
    assert len(lines(counter)) == LABEL_SETS_MAX + 1
    assert counter.get("3") == 2
    assert counter.get(OTHER) == 5


def test_label_is_escaped() -> None:
    counter = Counter("n_total", "Help.", ("name",))
    counter.add('a"b\\c\nd')
    assert lines(counter) == ['n_total{name="a\\"b\\\\c\\nd"} 1']


def test_counter_loses_nothing_between_threads() -> None:
    counter = Counter("n_total", "Help.")

    def count() -> None:
        for _ in range(2000):
            counter.add()

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counter.get() == 8000


def test_gauge_is_left_out_until_it_is_set() -> None:
    gauge = Gauge("g", "Help.")
    assert lines(gauge) == []
    gauge.set(2.5)
    gauge.add(-1)
    assert lines(gauge) == ["g 1.5"]


def test_gauge_asks_when_rendered() -> None:
    gauge = Gauge("g", "Help.")
    answers: list[float | None] = [1, None, 3]
    gauge.read_from(lambda: answers.pop(0))
    assert [lines(gauge) for _ in range(3)] == [["g 1"], [], ["g 3"]]


@pytest.mark.parametrize(
    ("value", "text"), [(math.inf, "+Inf"), (-math.inf, "-Inf"), (math.nan, "NaN"), (1e-7, "1e-07")]
)
def test_unusual_numbers_are_written_as_prometheus_reads_them(value: float, text: str) -> None:
    gauge = Gauge("g", "Help.")
    gauge.set(value)
    assert lines(gauge) == [f"g {text}"]


def test_histogram_counts_up_to_each_end() -> None:
    histogram = Histogram("h", "Help.", (1, 2.5), ("route",))
    for value in (0.5, 1, 2, 7):
        histogram.observe(value, "sync")
    assert lines(histogram) == [
        'h_bucket{route="sync",le="1"} 2',
        'h_bucket{route="sync",le="2.5"} 3',
        'h_bucket{route="sync",le="+Inf"} 4',
        'h_sum{route="sync"} 10.5',
        'h_count{route="sync"} 4',
    ]


def test_histogram_buckets_ascend() -> None:
    with pytest.raises(ValueError, match="must ascend"):
        Histogram("h", "Help.", (2, 1))


def test_page_has_every_metric_once_with_help_and_type() -> None:
    metrics = Metrics()
    metrics.http_requests.add("GET", "/sync", "200")
    metrics.http_seconds.observe(0.02, "/sync")
    page = metrics.render()
    names = [metric.name for metric in vars(metrics).values()]
    assert re.findall(r"^# HELP (\S+) \S", page, re.MULTILINE) == names
    assert re.findall(r"^# TYPE (\S+) (?:counter|gauge|histogram)$", page, re.MULTILINE) == names
    assert len(set(names)) == len(names)
    assert 'conduit_py_http_requests_total{method="GET",route="/sync",status="200"} 1\n' in page
    assert page.endswith("\n")


def test_names_follow_the_custom() -> None:
    for metric in vars(Metrics()).values():
        assert re.fullmatch(r"(conduit_py|process)_[a-z_]+", metric.name)
        assert (metric.type == "counter") == metric.name.endswith("_total")
        assert metric.help.endswith(".")


def test_servers_count_apart() -> None:
    one, two = Metrics(), Metrics()
    one.rate_limited.add("login")
    assert (one.rate_limited.get("login"), two.rate_limited.get("login")) == (1, 0)


def test_process_is_measured() -> None:
    metrics = Metrics()
    assert (metrics.process_memory.get() or 0) > 1_000_000
    assert (metrics.process_cpu.get() or 0) > 0
    assert (metrics.process_files.get() or 0) >= 3


def test_samples_that_are_kept_elsewhere_are_read_when_rendered() -> None:
    kept = {"a": 1.0}
    samples = ReadSamples("n_total", "Help.", "outcome", is_counter=True)
    assert lines(samples) == []
    samples.read_from(lambda: kept)
    kept["b"] = 2
    assert samples.type == "counter"
    assert lines(samples) == ['n_total{outcome="a"} 1', 'n_total{outcome="b"} 2']
