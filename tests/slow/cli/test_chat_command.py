"""`flask chat` as an operator runs it: a process of its own, that has the service's front door and nothing else."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import psycopg2
import pytest

from tests.slow.cli.chat_process import PATIENCE_SECONDS, SETTINGS, Chat, Pane
from tests.support import ROOT
from tests.support.members import API, Member, new_member
from tests.support.processes.service import GENEROUS_CHAT, ServiceProcess
from tests.support.processes.tenant import PASSWORD, TenantProcess
from tests.support.ws_client import ChatClient

CATEGORY_ID = "9a38d514-dbdb-51d1-ae7b-b194992a2ceb"


@pytest.fixture(scope="module")
def bus_settings() -> dict[str, str]:
    """One kind of bus will do: the command sees neither."""
    return {}


@pytest.fixture
def account(service: ServiceProcess, tenant: TenantProcess) -> Callable[..., tuple[str, Member]]:
    """Makes people who can log in: (e-mail, who they are)."""

    def make(at: ServiceProcess = service) -> tuple[str, Member]:
        email = f"{uuid4().hex[:12]}@example.com"
        tenant.add_user(email)
        credentials = {"email": email, "password": PASSWORD}
        token = at.request("POST", f"{API}/auth/auth0/login", json=credentials).json()["access_token"]
        answer = at.request("GET", f"{API}/auth/me", headers={"Authorization": f"Bearer {token}"})
        return email, Member(id=answer.json()["id"], token=token, service=at)

    return make


@pytest.fixture
def carol(account: Callable[..., tuple[str, Member]]) -> tuple[str, Member]:
    """Who uses the command."""
    return account()


@pytest.fixture
def talk(carol: tuple[str, Member], ben: Member) -> str:
    """Carol's conversation with Ben."""
    return ben.begin(carol[1])


def listing_of(owner: Member) -> str:
    """The id of something that this member now rents out."""
    owner.call("PUT", "/users/me/owner-profile", json={"business_info": {}})
    item = {
        "category_id": CATEGORY_ID,
        "title": "Sea kayak, 5.2 m",
        "description": "With paddle and spray skirt.",
        "daily_rate": "38.50",
        "condition": "good",
        "location": "Lyttelton",
    }
    return str(owner.call("POST", "/equipment", json=item).json()["id"])


def contents(member: Member, conversation_id: str) -> list[str]:
    """All that was said, oldest first."""
    return [message["content"] for message in member.messages(conversation_id, after_seq=0, limit=100)]


def name_of(member: Member) -> str:
    return str(member.call("GET", "/auth/me").json()["username"])


def test_lines_that_are_piped_in_are_stored_once_in_order_and_it_ends(
    tmp_path: Path, service: ServiceProcess, carol: tuple[str, Member], ben: Member, talk: str
) -> None:
    with Chat(tmp_path, carol[0], service, talk) as chat:
        for line in ("One", "", "  Zwei — ü 🚲  ", "Three\r"):
            chat.enter(line)
        assert chat.process.stdin is not None
        chat.process.stdin.write("Four, without a line end")
        assert chat.end() == 0
        assert contents(ben, talk) == ["One", "Zwei — ü 🚲", "Three", "Four, without a line end"]
        assert [line.partition("  ")[2] for line in chat.said] == [f"you: {line} ✓" for line in contents(ben, talk)]


def test_a_file_can_be_its_input(
    tmp_path: Path, service: ServiceProcess, carol: tuple[str, Member], ben: Member, talk: str
) -> None:
    lines, password = tmp_path / "lines", tmp_path / "password"
    lines.write_text("From a file\n/quit\nNever\n")
    password.write_text(f"{PASSWORD}\n")
    command = ["flask", "chat", "--as", carol[0], "--url", service.url("/"), "--password-file", str(password), talk]
    with lines.open() as opened:
        done = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], **SETTINGS},
            stdin=opened,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
    assert done.returncode == 0
    assert contents(ben, talk) == ["From a file"]


def test_what_others_say_and_read_is_shown_as_it_happens(
    tmp_path: Path, service: ServiceProcess, carol: tuple[str, Member], ben: Member, talk: str
) -> None:
    for number in range(1, 26):
        ben.send(talk, f"Earlier {number}")
    with Chat(tmp_path, carol[0], service, talk) as chat, ChatClient(ben) as bens:
        chat.enter("Hello")
        chat.wait_for("you: Hello ✓")
        bens.say("read", conversation_id=talk)
        chat.wait_for(f"✓ read by {name_of(ben)}")
        ben.send(talk, "Live\nin two lines\x1b[2J".replace("\x1b", "\N{SYMBOL FOR ESCAPE}"))
        chat.wait_for("Live\n       in two lines")
        elsewhere = ben.begin(carol[1], equipment_id=listing_of(ben))
        ben.send(elsewhere, "And here")
        chat.wait_for(f"wrote to you in {elsewhere}")
        assert chat.end() == 0
        earlier = [line for line in chat.said if "Earlier" in line]
        assert [line.rpartition(" ")[2] for line in earlier] == [str(number) for number in range(6, 26)]
        assert "5 earlier messages" in chat.noted


def test_without_a_conversation_it_lists_those_there_are(
    tmp_path: Path, service: ServiceProcess, carol: tuple[str, Member], ben: Member, talk: str
) -> None:
    about_kayak = ben.begin(carol[1], equipment_id=listing_of(ben))
    ben.send(talk, "One")
    ben.send(about_kayak, "Is it\nfor Friday?")
    carol[1].send(talk, "Two")
    with Chat(tmp_path, carol[0], service) as chat:
        assert chat.end() == 0
        name = name_of(ben)
        said = [re.sub(r"\d+ \w+ \d+, \d+:\d+  ", "", line.strip()) for line in chat.said if line]
    assert said == [
        f"{name} · no listing · 1 unread",
        "you: Two",
        talk,
        f"{name} · Sea kayak, 5.2 m · 1 unread",
        f"{name}: Is it for Friday?",
        about_kayak,
    ]


def test_a_listing_begins_the_conversation_with_its_owner_or_finds_it(
    tmp_path: Path, service: ServiceProcess, carol: tuple[str, Member], ben: Member
) -> None:
    item = listing_of(ben)
    for line in ("Is it free?", "Tomorrow?"):
        with Chat(tmp_path, carol[0], service, item) as chat:
            chat.enter(line)
            assert chat.end() == 0
            assert "Sea kayak, 5.2 m" in chat.noted
    (conversation,) = ben.call("GET", "/conversations").json()
    assert conversation["equipment_id"] == item
    assert contents(ben, conversation["id"]) == ["Is it free?", "Tomorrow?"]


def test_what_is_wrong_is_said_in_a_line(
    tmp_path: Path, service: ServiceProcess, carol: tuple[str, Member], ben: Member, stranger: Member, talk: str
) -> None:
    secret = ben.begin(stranger)
    unknown = str(uuid4())
    for arguments, settings, complaint in (
        ([], {"GEARYARD_PASSWORD": "Wrong-kayak-1"}, "not right"),
        ([unknown], {}, f"There is no conversation and no listing {unknown}."),
        ([secret], {}, "You do not take part in this conversation."),
        ([listing_of(carol[1])], {}, "You cannot begin one about this listing."),
        (["--url", "http://127.0.0.1:9"], {}, "No service answers at http://127.0.0.1:9."),
    ):
        with Chat(tmp_path, carol[0], service, *arguments, **settings) as chat:
            assert chat.end() == 1
            assert chat.noted.startswith("Error: ")
            assert complaint in chat.noted
            assert chat.noted.count("\n") == 1


def test_a_line_that_is_refused_is_named_and_the_others_are_sent(
    tmp_path: Path, service: ServiceProcess, carol: tuple[str, Member], ben: Member, talk: str
) -> None:
    with Chat(tmp_path, carol[0], service, talk) as chat:
        for line in ("Before", "x" * 5001, "🚲" * 20_000, "bell \x07", "After"):
            chat.enter(line)
        assert chat.end() == 1
        assert chat.noted.count("Not sent:") == 3
        assert chat.noted.endswith("Error: 3 lines not sent.\n")
    assert contents(ben, talk) == ["Before", "After"]


def test_a_reload_in_the_middle_loses_nothing_and_doubles_nothing(
    tmp_path: Path, service: ServiceProcess, carol: tuple[str, Member], ben: Member, talk: str
) -> None:
    lines = [f"Line {number}." for number in range(60)]
    with Chat(tmp_path, carol[0], service, talk) as chat, Chat(tmp_path, carol[0], service, talk) as watching:
        chat.enter(lines[0])
        watching.wait_for(lines[0])
        for number, line in enumerate(lines[1:]):
            if number in (10, 35):
                service.reload()
            chat.enter(line)
            time.sleep(0.05)
        assert chat.end() == 0
        watching.wait_for(lines[-1])
        watching.wait_for("The service restarts. Reconnecting…")
        assert watching.end() == 0
        assert contents(ben, talk) == lines
        expected = [f"you: {line} ✓" for line in lines]
        assert [line.partition("  ")[2] for line in watching.said] == expected
        assert [line.partition("  ")[2] for line in chat.said] == expected


@pytest.fixture(scope="module")
def database_url(database_url_factory: Callable[[], str]) -> str:
    """The database of `strict_service`."""
    return database_url_factory()


@pytest.fixture(scope="module")
def strict_service(database_url: str, tenant: TenantProcess) -> Iterator[ServiceProcess]:
    """With one worker, one socket a user, and rates as they are by default."""
    environment = {"DATABASE_URL": database_url, **tenant.env(), "WS_MAX_SOCKETS_PER_USER": "1"}
    with ServiceProcess(environment, workers=1) as running:
        yield running


def test_lines_typed_while_the_service_is_away_are_sent_in_order_at_the_pace_that_is_allowed(
    tmp_path: Path, strict_service: ServiceProcess, account: Callable[..., tuple[str, Member]]
) -> None:
    (email, carol), (_, ben) = account(strict_service), account(strict_service)
    talk = carol.begin(ben)
    lines = [f"Line {number}." for number in range(25)]
    with Chat(tmp_path, email, strict_service, talk) as chat:
        ben.send(talk, "Before")
        chat.wait_for("Before")
        strict_service.stop()
        chat.wait_for("Reconnecting…")
        for line in lines:
            chat.enter(line)
        strict_service.start()
        chat.wait_for("Connected again.")
        assert chat.end() == 0
        assert contents(ben, talk) == ["Before", *lines]
        assert [line.rpartition(": ")[2].removesuffix(" ✓") for line in chat.said] == ["Before", *lines]


def test_one_socket_too_many_is_not_tried_again(
    tmp_path: Path, strict_service: ServiceProcess, account: Callable[..., tuple[str, Member]]
) -> None:
    (email, carol), (_, ben) = account(strict_service), account(strict_service)
    talk = carol.begin(ben)
    with ChatClient(carol), Chat(tmp_path, email, strict_service, talk) as chat:
        assert chat.process.wait(PATIENCE_SECONDS) == 1
        assert chat.noted.endswith("Error: Too many sockets of this account are open: close one first.\n")


def test_a_conversation_that_was_set_back_begins_anew(
    tmp_path: Path, strict_service: ServiceProcess, database_url: str, account: Callable[..., tuple[str, Member]]
) -> None:
    """As after a restore of the database from a copy of yesterday."""
    (email, carol), (_, ben) = account(strict_service), account(strict_service)
    talk = carol.begin(ben)
    for number in range(1, 6):
        ben.send(talk, f"Line {number}.")
    with Chat(tmp_path, email, strict_service, talk) as chat:
        chat.enter("Line 6.")
        chat.wait_for("you: Line 6. ✓")
        strict_service.stop()
        with closing(psycopg2.connect(database_url)) as connection, connection.cursor() as cursor:
            cursor.execute("DELETE FROM messages WHERE conversation_id = %s AND seq > 2", (talk,))
            cursor.execute("UPDATE conversations SET last_seq = 2 WHERE id = %s", (talk,))
            connection.commit()
        strict_service.start()
        chat.wait_for("It begins anew:")
        ben.send(talk, "Line 3, again.")
        chat.wait_for("Line 3, again.")
        assert chat.end() == 0
        said = [line.rpartition(": ")[2] for line in chat.said]
    assert said[5:] == ["Line 6. ✓", "Line 1.", "Line 2.", "Line 3, again."]


@pytest.mark.parametrize(("warning_seconds", "is_cut"), [(2, False), (0, True)])
def test_a_token_that_runs_out_is_renewed_under_way(
    tmp_path: Path, database_url_factory: Callable[[], str], warning_seconds: int, is_cut: bool
) -> None:
    """With a warning on the same socket, without one on another."""
    with TenantProcess({"TENANT_TOKEN_LIFETIME_SECONDS": "4"}) as tenant:
        environment = {"DATABASE_URL": database_url_factory(), **tenant.env(), **GENEROUS_CHAT}
        with ServiceProcess({**environment, "WS_TOKEN_WARNING_SECONDS": str(warning_seconds)}) as service:
            tenant.add_user("carol@example.com")
            credentials = {"email": "carol@example.com", "password": PASSWORD}
            token = service.request("POST", f"{API}/auth/auth0/login", json=credentials).json()["access_token"]
            talk = Member(id="", token=token, service=service).begin(new_member(service, tenant))
            with Chat(tmp_path, "carol@example.com", service, talk) as chat:
                for number in range(8):
                    chat.enter(f"Line {number}.")
                    chat.wait_for(f"Line {number}. ✓")
                    time.sleep(1)
                assert chat.end() == 0
                assert [line.rpartition(": ")[2] for line in chat.said] == [f"Line {number}. ✓" for number in range(8)]
                assert ("The sign-in has run out. Reconnecting…" in chat.noted) is is_cut


@pytest.fixture
def pane(service: ServiceProcess, carol: tuple[str, Member], talk: str) -> Iterator[Pane]:
    """Carol's terminal, in the conversation."""
    with Pane(carol[0], service, talk) as running:
        running.wait_for("> ")
        yield running


def test_a_line_being_typed_stays_whole_when_a_message_comes_in(
    pane: Pane, carol: tuple[str, Member], ben: Member, talk: str
) -> None:
    with ChatClient(ben) as bens:
        pane.type("Half a line")
        assert bens.find("typing")["is_typing"] is True
        ben.send(talk, "In between")
        pane.wait_for("In between\r\n> Half a line")
        heard = [bens.hear()]  # carol's reading may be told before what she read
        while not {"message", "read"} <= {frame["type"] for frame in heard}:
            heard.append(bens.hear())
        assert {frame["payload"]["user_id"] for frame in heard if frame["type"] == "read"} == {carol[1].id}
        bens.say("typing", conversation_id=talk)
        pane.wait_for(f"> Half a line\x1b[2m   {name_of(ben)} is typing…")
        pane.type("\x7f\x7f\x7f\x7fword\x1b[D\x1b[D\x1b[Dhole w\x05s\r")
        assert bens.find("message")["content"] == "Half a whole words"
    pane.type("/nonsense\r")
    pane.wait_for("There is no /nonsense here")
    pane.type("/quit\r")
    assert pane.process.wait(PATIENCE_SECONDS) == 0
    assert pane.attributes() == pane.before


@pytest.mark.parametrize("how", ["Ctrl-D", "Ctrl-C", "SIGTERM"])
def test_it_ends_when_it_is_told_to_and_leaves_the_terminal_as_it_was(pane: Pane, how: str) -> None:
    pane.type("Never sent")
    pane.wait_for("Never sent")
    if how == "Ctrl-D":
        pane.type("\x15\x04")
    else:
        pane.process.send_signal(signal.SIGINT if how == "Ctrl-C" else signal.SIGTERM)
    assert pane.process.wait(PATIENCE_SECONDS) == 0
    assert pane.attributes() == pane.before
