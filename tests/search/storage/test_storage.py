"""Storages as users name them, on real databases: every fault is told in a line, and no password is ever shown."""

import re
import sqlite3
import subprocess
import sys
import threading
import traceback
from pathlib import Path
from urllib.parse import quote

import pytest
import sqlalchemy
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from postgres import Postgres
from search.errors import StorageError
from search.storage import opening as storage_module
from search.storage.opening import open_storage, storage_faults
from search.storage.url import redacted
from studies import NAME, at_once, claim, is_whole, open_study, propose, waiting

MARK = "Hidden5ecret"
PASSWORDS = st.tuples(st.text(max_size=8), st.just(MARK), st.text(max_size=8)).map("".join)
ENCODABLE = PASSWORDS.filter(lambda password: not any("\ud800" <= letter <= "\udfff" for letter in password))
HIDDEN = "postgresql://***"


@pytest.fixture(params=["sqlite", "journal", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A fresh storage of each kind."""
    if request.param == "postgresql":
        server: Postgres = request.getfixturevalue("postgres")
        return server.new_database()
    return f"{request.param}:///{tmp_path}/study.{request.param}"


@pytest.fixture(params=["journal", "postgresql"])
def shared_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A fresh storage of each kind that several processes may use."""
    if request.param == "postgresql":
        server: Postgres = request.getfixturevalue("postgres")
        return server.new_database()
    return str(tmp_path / "study.journal")


def everything_shown(error: BaseException) -> str:
    """All that a traceback prints, and what led to the error, too."""
    shown = "".join(traceback.format_exception(error))
    links = [error]
    while links:
        link = links.pop()
        shown += str(link) + repr(link)
        links += [other for other in (link.__cause__, link.__context__) if other is not None]
    return shown


@given(ENCODABLE)
def test_an_encoded_password_is_hidden_and_the_rest_is_shown(password: str) -> None:
    encoded = quote(password, safe="")
    assert redacted(f"postgresql://me:{encoded}@h.org:54/db") == "postgresql://me:***@h.org:54/db"
    assert redacted(f"postgresql://me@h/db?a=b&Password={encoded}&c=d") == "postgresql://me@h/db?a=b&Password=***"
    assert redacted(f"postgresql://[::1]/db?%70assword={encoded}") == "postgresql://[::1]/db?%70assword=***"


@given(PASSWORDS, st.sampled_from(["", "0", "0/", "0?x=", "@", "0@"]))
def test_a_password_as_it_is_is_hidden_too_and_then_less_is_shown(password: str, before: str) -> None:
    # Where the host was forgotten, what follows an @ is one, and digits and a slash are a port and a database.
    without_host = () if re.match(r"\d+[/?]|.*@", before + password, re.DOTALL) else ("", "/db")
    for tail in ("@h/db", "@h/db?a=b", *without_host):
        shown = redacted(f"postgresql://me:{before}{password}{tail}")
        assert shown in (f"postgresql://me:***{tail}", HIDDEN)
    shown = redacted(f"postgresql://h:54/db?user=me&password={before}{password}")
    assert shown in ("postgresql://h:54/db?user=me&password=***", HIDDEN)
    assert MARK not in redacted(f"postgresql:/me:{password}@h/db")
    assert MARK not in redacted(f"me:{password}@h/db")
    assert MARK not in redacted(f"sqlite:///file?password={password}")


@pytest.mark.parametrize(
    "shown", ["runs/a.journal", "sqlite:////x/a@b:c.db", "postgresql://me@h:54/db?sslmode=require"]
)
def test_what_holds_no_password_is_shown_as_it_is(shown: str) -> None:
    assert redacted(shown) == shown


@given(
    ENCODABLE, st.sampled_from(["127.0.0.1:1", "127.0.0.1:99999", "127.0.0.1", "no.such.host.invalid"]), st.booleans()
)
@settings(max_examples=15, deadline=None)
def test_no_password_is_in_an_error(password: str, place: str, quoted: bool) -> None:
    part = quote(password, safe="") if quoted else password
    for url in (f"postgresql://me:{part}@{place}/db", f"postgresql://me@{place}/db?nonsense=1&password={part}"):
        with pytest.raises(StorageError) as caught:
            open_storage(url)
        assert MARK not in everything_shown(caught.value)
        assert len(str(caught.value).splitlines()) == 1


def wrong_password(postgres: Postgres) -> str:
    return postgres.url("postgres", MARK)


def no_password(postgres: Postgres) -> str:
    return postgres.url("postgres").replace(f":{postgres.password}@", "@")


def no_database(postgres: Postgres) -> str:
    return postgres.url("none")


def no_option(postgres: Postgres) -> str:
    return f"{postgres.url('postgres')}?nonsense=1"


def no_server(postgres: Postgres) -> str:
    return postgres.url("postgres").replace(str(postgres.port), "1")


def no_host(postgres: Postgres) -> str:
    return postgres.url("postgres").replace("127.0.0.1", "no.such.host.invalid")


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (wrong_password, "refused the user or the password; correct"),
        (no_password, "asks for a password; put it into PGPASSWORD"),
        (no_database, "no such database on the server; make it with createdb"),
        (no_option, 'invalid connection option "nonsense"; correct the URL'),
        (no_server, "nothing answers at this host and port; start the server"),
        (no_host, "this host is not known; correct"),
    ],
)
def test_a_server_that_cannot_be_used_is_told(postgres: Postgres, made: object, message: str) -> None:
    assert callable(made)
    with pytest.raises(StorageError, match=message) as caught:
        open_storage(made(postgres))
    assert postgres.password not in everything_shown(caught.value)
    assert MARK not in everything_shown(caught.value)


def test_a_user_without_rights_is_told(postgres: Postgres) -> None:
    url = postgres.new_database()
    with postgres.connect() as connection:
        connection.execute("DROP ROLE IF EXISTS guest")
        connection.execute(f"CREATE ROLE guest LOGIN PASSWORD '{MARK}'")
    with pytest.raises(StorageError, match="may not make or use the study's tables; GRANT"):
        open_storage(url.replace(f"postgres:{postgres.password}", f"guest:{MARK}"))


def test_a_password_may_come_from_elsewhere(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", postgres.password)
    assert isinstance(open_storage(no_password(postgres)), RDBStorage)
    monkeypatch.delenv("PGPASSWORD")
    storage = open_storage(f"{no_password(postgres)}?password={quote(postgres.password)}")
    assert isinstance(storage, RDBStorage)
    assert postgres.password not in str(storage.engine.url) + repr(storage.engine)


def test_odd_characters_reach_the_server(postgres: Postgres) -> None:
    password = "{x}%41@:/? 'ü"
    with postgres.connect() as connection:
        connection.execute("DROP ROLE IF EXISTS odd")
        connection.execute("CREATE ROLE odd SUPERUSER LOGIN PASSWORD '{x}%41@:/? ''ü'")
    url = postgres.new_database().replace(f"postgres:{postgres.password}", f"odd:{quote(password, safe='')}")
    assert isinstance(open_storage(url), RDBStorage)
    assert isinstance(open_storage(url.replace("postgresql", "postgres", 1)), RDBStorage)


def test_a_missing_driver_is_told() -> None:
    script = "import sys; sys.modules['psycopg'] = None; from search.storage.opening import open_storage as opened; "
    script += "opened(sys.argv[1])"
    command = [sys.executable, "-c", script, f"postgresql://me:{MARK}@127.0.0.1:1/db"]
    run = subprocess.run(command, cwd=Path(__file__).parents[3], capture_output=True, text=True)
    assert 'pip install "depthfinder[postgresql]"' in run.stderr
    assert MARK not in run.stderr


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "no storage was named: a storage is sqlite:///FILE.db"),
        ("study.db", "study.db is no storage: a storage is"),
        ("redis://me:x@h/0", r"redis://me:\*\*\*@h/0 is of a kind that is not taken: a storage is"),
        ("postgresql+psycopg2://me:x@h/0", "not taken: write postgresql://"),
        ("postgresql://me:a@b@h/db", r"postgresql://\*\*\* cannot be read: write .* %40"),
        ("sqlite://study.db", "cannot be read: write sqlite:///FILE"),
        ("sqlite://", "cannot be read"),
        ("sqlite:///:memory:", "names no file"),
        ("journal:///", "names no file"),
        ("sqlite:///none/study.db", "there is no folder none; make it"),
        ("none/study.journal", "there is no folder none; make it"),
        ("journal:////", "is a folder; name a file in it"),
    ],
)
def test_what_is_no_storage_is_told(url: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StorageError, match=message):
        open_storage(url)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["sqlite", "journal"])
@pytest.mark.parametrize("text", ["what a pity\n" * 100, "[1]\n", '{"a": 1}\n', "3\n"])
def test_another_file_is_told_and_left_alone(kind: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text(text * 100)
    with pytest.raises(StorageError, match=r"not an SQLite database; name another|not a whole journal; restore it"):
        open_storage(f"{kind}:///{path}")
    assert path.read_text() == text * 100


def test_a_locked_file_is_told(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/study.db?timeout=0.1"
    open_storage(url)
    with sqlite3.connect(tmp_path / "study.db") as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StorageError, match="another process holds the file; wait for it"):
            open_storage(url)


@pytest.mark.parametrize(("version", "message"), [("v3.0.0.a", "optuna storage upgrade"), ("v9", "upgrade optuna")])
def test_tables_of_another_optuna_are_told(version: str, message: str, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/study.db"
    open_storage(url)
    with sqlite3.connect(tmp_path / "study.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (version,))
    with pytest.raises(StorageError, match=rf"\({version}\) are of another Optuna .*{message}"):
        open_storage(url)


def test_a_dropped_connection_is_survived(postgres: Postgres) -> None:
    storage = open_storage(postgres.new_database())
    assert storage.get_all_studies() == []
    end_connections(postgres)
    assert storage.get_all_studies() == []


def test_a_change_that_is_cut_off_is_told(postgres: Postgres) -> None:
    url = postgres.new_database()
    storage = open_storage(url)
    assert isinstance(storage, RDBStorage)

    @storage_faults(url)
    def change() -> None:
        with storage.engine.connect() as connection:
            connection.execute(sqlalchemy.text("SELECT 1"))
            end_connections(postgres)
            connection.execute(sqlalchemy.text("SELECT 1"))

    with pytest.raises(StorageError, match="ended the connection in the middle of a change; run") as caught:
        change()
    assert postgres.password not in everything_shown(caught.value)


def end_connections(postgres: Postgres) -> None:
    with postgres.connect() as connection:
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")


def test_a_server_that_restarts_is_waited_for(postgres: Postgres, caplog: pytest.LogCaptureFixture) -> None:
    study = open_study(postgres.new_database())
    study.enqueue_trial({"x": 1})
    postgres.stop()
    again = threading.Timer(1, postgres.start)
    again.start()
    study.enqueue_trial({"x": 2})
    again.join()
    assert [trial.number for trial in study.trials] == [0, 1]
    assert "does not answer: trying again" in caplog.text
    assert postgres.password not in caplog.text


def test_a_server_that_stays_away_is_told(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage_module, "_OUTAGE_S", 0.1)
    url = postgres.new_database()
    storage = open_storage(url)
    postgres.stop()
    try:
        with pytest.raises(StorageError, match="nothing answers"), storage_faults(url):
            storage.get_all_studies()
    finally:
        postgres.start()
    assert storage.get_all_studies() == []


def test_nobody_waits_for_a_process_that_was_killed(tmp_path: Path) -> None:
    path = tmp_path / "study.journal"
    study = open_study(str(path))
    hold = (
        "import fcntl, sys; f = open(sys.argv[1]); fcntl.flock(f, fcntl.LOCK_EX); print(flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen([sys.executable, "-c", hold, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout is not None
    holder.stdout.readline()
    waiter = threading.Thread(target=study.enqueue_trial, args=({"x": 1},), daemon=True)
    waiter.start()
    waiter.join(0.3)
    assert waiter.is_alive(), "the lock is held"
    holder.kill()
    waiter.join(20)
    assert not waiter.is_alive()
    assert len(study.trials) == 1
    holder.communicate()


@pytest.mark.parametrize("size", [1, 70_000, 200_000])
def test_half_a_line_of_a_killed_process_is_written_over(size: int, tmp_path: Path) -> None:
    path = tmp_path / "study.journal"
    study = open_study(str(path))
    study.add_trial(waiting(0))
    with path.open("a") as file:
        file.write('{"op_code": 4, "' + size * "x")
    assert len(study.trials) == 1
    study.add_trial(waiting(1))
    study.add_trial(waiting(2))
    for view in (study, open_study(str(path))):
        assert [trial.user_attrs["part 0"] for trial in view.trials] == [0, 1, 2]


def test_a_journal_that_vanishes_is_told(tmp_path: Path) -> None:
    path = tmp_path / "study.log"
    study = open_study(str(path))
    path.unlink()
    with pytest.raises(StorageError, match="cannot be used: No such file"):
        study.add_trial(waiting())
    assert not path.exists()


def test_what_a_study_holds_is_there_again(url: str) -> None:
    study = open_study(url)
    study.add_trial(waiting(3))
    assert is_whole(open_study(url).trials[0])
    assert open_storage(url).get_all_studies()[0].study_name == NAME


def test_processes_that_add_at_once_see_whole_trials_without_gaps(shared_url: str) -> None:
    assert at_once(4, propose, shared_url, 10) == [[]] * 4
    trials = open_study(shared_url).trials
    assert [trial.number for trial in trials] == list(range(40))
    assert sorted(trial.user_attrs["part 0"] for trial in trials) == sorted([*range(10)] * 4)


@pytest.mark.parametrize("finish", [pytest.param(False, marks=pytest.mark.grid), True])
def test_one_process_gets_a_waiting_trial(shared_url: str, finish: bool) -> None:
    study = open_study(shared_url)
    for value in range(10):
        study.add_trial(waiting(value))
    outcomes = at_once(8, claim, shared_url, finish)
    assert [row.count("won") for row in map(list, zip(*outcomes, strict=True))] == [1] * 10
    assert any("lost" in row or "finished" in row for row in outcomes)
    state = TrialState.COMPLETE if finish else TrialState.RUNNING
    assert {trial.state for trial in study.trials} == {state}


def test_a_trial_that_somebody_gave_up_stays_given_up(url: str) -> None:
    study, other = open_study(url), open_study(url)
    study.add_trial(waiting())
    (trial,) = study.trials
    assert study._storage.set_trial_state_values(trial._trial_id, TrialState.RUNNING)
    assert not other._storage.set_trial_state_values(trial._trial_id, TrialState.RUNNING)
    assert other._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
    for state, values in ((TrialState.COMPLETE, [1.0]), (TrialState.RUNNING, None), (TrialState.FAIL, None)):
        with pytest.raises(UpdateFinishedTrialError):
            study._storage.set_trial_state_values(trial._trial_id, state, values)
    with pytest.raises(UpdateFinishedTrialError):
        study._storage.set_trial_user_attr(trial._trial_id, "beat", 1)
    assert [(trial.state, trial.values) for trial in study.trials] == [(TrialState.FAIL, None)]


def test_anybody_may_note_something_of_a_trial_that_runs(url: str) -> None:
    study, other = open_study(url), open_study(url)
    study.add_trial(waiting())
    (trial,) = study.trials
    other._storage.set_trial_user_attr(trial._trial_id, "seen", [1, None])
    study._storage.set_trial_state_values(trial._trial_id, TrialState.RUNNING)
    other._storage.set_trial_user_attr(trial._trial_id, "beat", 7)
    assert (study.trials[0].user_attrs["seen"], study.trials[0].user_attrs["beat"]) == ([1, None], 7)


def test_constraints_stay_with_a_trial_to_its_end(url: str) -> None:
    study = open_study(url)
    study.add_trial(waiting())
    (trial,) = study.trials
    study._storage.set_trial_state_values(trial._trial_id, TrialState.RUNNING)
    study._storage.set_trial_system_attr(trial._trial_id, "constraints:size", 2.0)
    study._storage.set_trial_state_values(trial._trial_id, TrialState.COMPLETE, [0.25])
    (trial,) = open_study(url).trials
    assert (trial.state, trial.value) == (TrialState.COMPLETE, 0.25)
    assert trial.constraints == {"latency_ms": -1.5, "size": 2.0}
    assert trial.params == {"x": 0}
