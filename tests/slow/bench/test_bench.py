"""The benchmarks run and compute correctly; their findings on this little data mean nothing."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from deploy.local.cluster import PostgresCluster
from deploy.local.processes import ROOT, wait_until
from tests.benchmarks import __main__ as command
from tests.benchmarks import filling, pgbench, report, statements
from tests.benchmarks.client_pool_process import percentiles_ms
from tests.benchmarks.dataset import HITS, RADIUS_KM, Dataset, words_of_searches
from tests.benchmarks.findings import Finding, Target, share_of, slower_than, tail
from tests.benchmarks.interleaving import BenchmarkFailed, Sample, interleave
from tests.benchmarks.rows import ROWS, Row
from tests.benchmarks.scale import TINY
from tests.benchmarks.stage import Stage
from tests.benchmarks.wrk import Answers, HttpLoad, Request
from tests.support.databases import query
from tests.support.processes import child_pids

LISTINGS = 1_500
PATIENCE_SECONDS = 60
WRK = {"requests": 3000, "microseconds": 2_000_000, "p50": 1500, "p99": 9000, "status": 3}
NO_FAILURES = {"connect": 0, "read": 0, "write": 0, "timeout": 0}
PGBENCH = """\
number of transactions actually processed: 4234
number of failed transactions: 0 (0.000%)
tps = 1300.307652 (without initial connection time)
"""
PROGRESS = """\
progress: 1.0 s, 300.0 tps, lat 7.494 ms stddev 2.1, 0 failed
progress: 2.0 s, 2000.0 tps, lat 7.494 ms stddev 2.1, 0 failed
progress: 3.0 s, 1600.0 tps, lat 7.494 ms stddev 2.1, 0 failed
"""
DEFINITIONS = """
SELECT pg_get_indexdef(indexrelid) FROM pg_index JOIN pg_class ON pg_class.oid = indrelid
WHERE relnamespace = 'public'::regnamespace
UNION ALL SELECT conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint
WHERE connamespace = 'public'::regnamespace
UNION ALL SELECT pg_get_triggerdef(oid) || tgenabled::text FROM pg_trigger WHERE NOT tgisinternal
ORDER BY 1"""
DIGEST = """
SELECT md5(string_agg(equipment::text, '' ORDER BY id)) FROM equipment
UNION ALL SELECT md5(string_agg(equipment_photos::text, '' ORDER BY id)) FROM equipment_photos"""
HITS_AROUND = """
SELECT count(*) FROM equipment
WHERE ST_DWithin(coordinates, ST_SetSRID(ST_MakePoint(%s, %s), 4326)::geography, %s)"""


def at(*rates: float) -> list[Sample]:
    return [Sample(per_second=rate) for rate in rates]


def test_sides_take_turns_after_a_sample_that_does_not_count() -> None:
    calls: list[str] = []

    def side(name: str) -> Callable[[float], Sample]:
        def measure(_seconds: float) -> Sample:
            calls.append(name)
            return Sample(per_second=len(calls))

        return measure

    ours, reference = interleave([side("a"), side("b")], rounds=2, seconds=1)

    assert "".join(calls) == "ab" + "abab"
    assert [sample.per_second for sample in (*ours, *reference)] == [3, 5, 4, 6]


def test_a_ratio_is_the_median_of_each_rounds_own() -> None:
    # Not what the medians of all the rounds are to each other, since a slow round is slow for both: 50 to 90.
    finding = share_of("ours", at(50, 30, 70), "theirs", at(100, 40, 90), at_least=0.7)
    assert finding.figure == pytest.approx(0.75)
    assert finding.is_met
    finding = slower_than("deep", at(50, 50, 50), "shallow", at(100, 60, 45), at_most=1.2)
    assert finding.figure == pytest.approx(1.2)
    assert finding.is_met
    assert not slower_than("deep", at(50), "shallow", at(61), at_most=1.2).is_met


def test_percentiles_are_of_milliseconds() -> None:
    assert percentiles_ms([number / 1000 for number in range(101)]) == pytest.approx({"p50": 50, "p99": 99})


def test_wrks_answers_are_read_by_what_it_counts() -> None:
    answers = Answers.read("Running 2s test\n" + json.dumps(WRK | NO_FAILURES) + "\n")
    assert answers == Answers(Sample(per_second=1500, p50_ms=1.5, p99_ms=9), requests=3000, refused=3)


@pytest.mark.parametrize("wrong", [{"timeout": 1}, {"read": 2}, {"connect": 1}, {"write": 1}, {"requests": 0}])
def test_a_connection_that_failed_fails_the_row(wrong: dict[str, int]) -> None:
    with pytest.raises(BenchmarkFailed):
        Answers.read(json.dumps(WRK | NO_FAILURES | wrong))


class Refusing(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/there" else 404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def refusing_port() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def test_a_refusal_under_load_fails_the_row(refusing_port: int) -> None:
    requests = [Request("/there"), Request("/elsewhere", status=404)]
    with HttpLoad(refusing_port, requests, connections=2) as load:
        found = load.answers(1)
        assert found.requests > found.refused > 0
        with pytest.raises(BenchmarkFailed, match="400 or above"):
            load(1)


def test_a_load_begins_with_the_answers_that_it_must_have(refusing_port: int) -> None:
    with pytest.raises(BenchmarkFailed, match="404"), HttpLoad(refusing_port, [Request("/gone")], connections=1):
        pass


def test_pgbenchs_first_second_does_not_count() -> None:
    assert pgbench.read(PGBENCH, PROGRESS) == Sample(per_second=1800)


@pytest.mark.parametrize(
    ("output", "progress"),
    [
        (PGBENCH.replace("transactions: 0", "transactions: 7"), PROGRESS),
        (PGBENCH, PROGRESS + "pgbench: error: client 3 aborted in command 2"),
        ("", "pgbench: error: could not connect"),
    ],
)
def test_a_transaction_that_failed_fails_the_row(output: str, progress: str) -> None:
    with pytest.raises(BenchmarkFailed):
        pgbench.read(output, progress)


def test_the_table_says_what_was_missed() -> None:
    found = [
        share_of("ours", at(60), "theirs", at(100), at_least=0.5),
        Finding(what="memory", reference="before", figure=7.25, target=Target(5, "%", at_least=False)),
    ]
    lines = report.table(found).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert [cell.strip() for cell in lines[2].split("|")[5:-1]] == ["theirs", "100", "0.60 ×", "≥ 0.50 ×", "met"]
    assert [cell.strip() for cell in lines[3].split("|")[7:-1]] == ["7.2 %", "≤ 5 %", "MISSED"]


def test_a_tail_is_the_99th_percentile_in_medians() -> None:
    finding = tail("ours", [Sample(per_second=1, p50_ms=2, p99_ms=7)] * 3, at_most=3)
    assert finding.figure == pytest.approx(3.5)
    assert not finding.is_met


@pytest.fixture(scope="module")
def filled(database_url_factory: Callable[[], str]) -> str:
    url = database_url_factory()
    filling.fill(url, Dataset(LISTINGS))
    return url


def test_a_filled_database_is_as_the_migrations_made_it(filled: str, database_url_factory: Callable[[], str]) -> None:
    assert query(filled, DEFINITIONS) == query(database_url_factory(), DEFINITIONS)


def test_the_data_are_the_same_each_time(filled: str, database_url_factory: Callable[[], str]) -> None:
    again = database_url_factory()
    filling.fill(again, Dataset(LISTINGS))
    assert query(filled, DIGEST) == query(again, DIGEST)


def test_listings_lie_evenly_with_so_many_in_a_circle(filled: str) -> None:
    points = list(Dataset(LISTINGS).points(40, away_from_edge_km=RADIUS_KM))
    hits = [int(str(query(filled, HITS_AROUND, *place, RADIUS_KM * 1000)[0][0])) for place in points]
    assert sum(hits) / len(hits) == pytest.approx(HITS, rel=0.15)
    assert all(HITS / 2 < found < HITS * 2 for found in hits)
    assert query(filled, "SELECT count(*), count(DISTINCT id) FROM equipment") == [(LISTINGS, LISTINGS)]


def test_each_listing_has_one_to_four_photos_the_first_of_them_primary(filled: str) -> None:
    counts = query(
        filled, "SELECT count(*), count(*) FILTER (WHERE is_primary) FROM equipment_photos GROUP BY equipment_id"
    )
    assert {photos for photos, _ in counts} == {1, 2, 3, 4}
    assert {primary for _, primary in counts} == {1}
    assert len(counts) == LISTINGS


def test_every_statement_is_one_that_pgbench_can_run(cluster: PostgresCluster, filled: str) -> None:
    box = Dataset(LISTINGS).box.without_margin(RADIUS_KM)
    scripts = [statements.radius_search(box, RADIUS_KM, words) for words in (None, *words_of_searches())]
    with pgbench.Pgbench(cluster.data, filled, [*scripts, statements.add_message(10)], connections=2) as side:
        assert side(1).per_second > 0


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bench")


def processes_of(directory: Path) -> Iterator[Path]:
    """The processes that were started with this directory in their arguments or environment."""
    for entry in Path("/proc").iterdir():
        # What ends meanwhile is none.
        with suppress(OSError):
            if entry.name.isdecimal() and any(
                str(directory).encode() in (entry / name).read_bytes() for name in ("cmdline", "environ")
            ):
                yield entry


def test_rows_are_measured_and_written_down(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.run([row for row in ROWS if row.name == "radius"], TINY, state) == 0

    results = json.loads((state / "results.json").read_text())
    assert results["scale"]["medium"] == TINY.medium
    beside = [finding["reference"] for finding in results["rows"]["radius"]]
    assert beside == ["pgbench, the same statement", "the conventional way", "its own p50"]
    for finding in results["rows"]["radius"]:
        assert finding["figure"] > 0
        assert all(sample["per_second"] > 0 for samples in finding["samples"].values() for sample in samples)
    assert "| the conventional way " in capsys.readouterr().out
    assert list(processes_of(state)) == []


def test_a_row_that_cannot_be_measured_fails_the_run_and_no_other_row(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(_stage: Stage) -> list[Finding]:
        """A row that nothing comes of"""
        raise BenchmarkFailed("3 of 5 requests were answered by 400 or above")

    def fine(_stage: Stage) -> list[Finding]:
        """A row that finds something"""
        return [share_of("fine", at(1), "fine", at(1), at_least=1)]

    assert command.run([Row("refused", refused), Row("fine", fine)], TINY, state) == 1
    shown = capsys.readouterr().out
    assert "make bench: row refused: 3 of 5 requests" in shown
    assert "| fine " in shown


def test_a_run_that_is_told_to_stop_leaves_nothing_behind(state: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from tests.benchmarks.__main__ import main; "
        "from tests.benchmarks.scale import TINY; "
        f"sys.exit(main(['cursor', '--seconds', '30'], TINY, Path({str(state)!r})))"
    )
    with subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.DEVNULL) as running:
        try:
            assert wait_until(lambda: "wrk" in children_of(running.pid), PATIENCE_SECONDS)
            running.send_signal(signal.SIGINT)
            assert running.wait(PATIENCE_SECONDS) == command.INTERRUPTED
        finally:
            running.kill()
    assert list(processes_of(state)) == []


def children_of(pid: int) -> list[str]:
    """What the processes are called that a process has started, and that are there."""
    names = []
    for number in child_pids(pid):
        with suppress(OSError):
            names.append(Path(f"/proc/{number}/comm").read_text().strip())
    return names


def test_a_row_that_there_is_not_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["raduis"]) == 2
    assert "raduis" in capsys.readouterr().out
