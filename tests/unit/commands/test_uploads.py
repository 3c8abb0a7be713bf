"""How far an upload is, as people see it."""

from __future__ import annotations

from mlmgmt_nb.commands.upload_progress import Meter


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def measured(times: list[float], total: int = 15_000_000) -> list[tuple[str, float]]:
    """Return what is shown when equal parts arrive at these times."""
    shown: list[tuple[str, float]] = []
    clock = Clock()
    meter = Meter("big.bin", lambda text, part: shown.append((text, part)), clock)
    for number, clock.now in enumerate(times, start=1):
        meter(total * number // len(times), total)
    return shown


def test_what_takes_no_time_is_not_shown() -> None:
    assert measured([0.1, 0.2, 0.3, 0.4]) == []


def test_what_takes_time_is_shown_to_its_end() -> None:
    assert measured([0.1, 0.6, 0.8, 0.81]) == [
        ("upload big.bin: 50% of 15 MB, 12 MB/s", 0.5),
        ("upload big.bin: 75% of 15 MB, 14 MB/s", 0.75),
        ("upload big.bin: 100% of 15 MB, 19 MB/s", 1.0),
    ]


def test_what_is_big_is_shown_from_its_start() -> None:
    assert measured([0.01, 0.02, 0.03, 0.04], 1_500_000_000) == [
        ("upload big.bin: 25% of 1.5 GB", 0.25),
        ("upload big.bin: 100% of 1.5 GB, 37.5 GB/s", 1.0),  # the rate of the whole, however short it was
    ]


def test_it_is_shown_ten_times_a_second_at_most() -> None:
    shown = measured([number / 1000 for number in range(1, 2001)])
    assert 10 < len(shown) <= 17
    assert shown[-1][1] == 1.0


def test_sizes_are_readable() -> None:
    for total, text in {900: "900 B", 25_000: "25 kB", 3_000_000: "3 MB", 1_500_000_000: "1.5 GB"}.items():
        assert measured([1.0], total) == [(f"upload big.bin: 100% of {text}, {text}/s", 1.0)]


def test_a_long_upload_tells_the_time_left() -> None:
    shown = [text for text, _ in measured([10.0, 20.0, 30.0, 40.0], 4_000_000_000)]
    assert shown == [
        "upload big.bin: 25% of 4.0 GB, 100 MB/s, 30 s left",
        "upload big.bin: 50% of 4.0 GB, 100 MB/s, 20 s left",
        "upload big.bin: 75% of 4.0 GB, 100 MB/s, 10 s left",
        "upload big.bin: 100% of 4.0 GB, 100 MB/s",
    ]
    assert measured([100.0, 200.0, 300.0, 400.0], 4_000_000_000)[0][0].endswith("10 MB/s, 5 min left")
