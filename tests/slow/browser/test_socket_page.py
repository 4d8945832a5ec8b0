"""Every frame of the chat's protocol, tried on `/docs/socket` in a real browser."""

import json
from typing import Any

import pytest

from deploy.local.plan import DEMO_EMAILS
from tests.slow.browser.page import Page, logged_in
from tests.support.processes.service import ServiceProcess

RENTER, OWNER, _ = DEMO_EMAILS


@pytest.fixture(scope="module", autouse=True)
def listing(service: ServiceProcess) -> None:
    """A listing of the demo owner, about which conversations begin."""
    logged_in(service, OWNER).become_owner().list_equipment()


@pytest.fixture
def connected(page: Page) -> Page:
    """The page, with the renter's socket open and a conversation chosen."""
    page.open("/docs/socket")
    page.press("Log in as renter")
    page.press("Connect")
    page.sees('"ready"', "#log .received")
    page.press("Begin one about a listing")
    page.sees(" messages", "#conversation option")
    page.button("Begin one about a listing")
    return page


def received(page: Page) -> list[dict[str, Any]]:
    return [json.loads(each.text) for each in page.all("#log .received pre")]


def try_frame(page: Page, name: str, *answers: str) -> None:
    """Choose it, send it, and wait for frames of these types above what is there."""
    page.press("Clear")
    page.press(name, "#frames")
    page.press("Send")
    for answer in answers:
        page.sees(f'"type": "{answer}"', "#log .received")


def test_a_message_is_acknowledged_and_told(connected: Page) -> None:
    try_frame(connected, "message", "ack", "message")
    frames = {frame["type"]: frame["payload"] for frame in received(connected)}
    assert frames["ack"]["id"] == frames["message"]["id"]
    assert frames["message"]["content"] == "Is it free on Friday?"

    connected.press("Clear")
    connected.press("Send")  # unchanged
    assert '"duplicate": true' in connected.sees('"ack"', "#log .received")


def test_every_other_frame_is_answered(connected: Page) -> None:
    try_frame(connected, "message", "ack")
    try_frame(connected, "typing", "typing")
    try_frame(connected, "read", "read")
    try_frame(connected, "sync", "sync")
    try_frame(connected, "ping", "pong")
    try_frame(connected, "auth", "ready")
    try_frame(connected, "a mistake", "error")
    assert connected.find("#state").text == "Connected."


def test_the_token_is_shown_nowhere_and_is_in_no_url(connected: Page) -> None:
    assert '"token": "{token}"' in connected.sees('"auth"', "#log .sent")
    assert "eyJ" not in connected.browser.page_source
    assert "eyJ" not in connected.service.log()


@pytest.mark.attack("hostile input")
def test_what_is_written_is_text(connected: Page) -> None:
    hostile = '<img src=x onerror="document.title=1"><script>document.title=1</script>'
    connected.press("message", "#frames")
    frame = json.loads(connected.run("return document.querySelector('#frame').value"))
    frame["payload"]["content"] = hostile
    connected.run("document.querySelector('#frame').value = arguments[0]", json.dumps(frame))
    connected.press("Clear")
    connected.press("Send")
    connected.sees('"type": "message"', "#log .received")
    assert {frame["payload"].get("content") for frame in received(connected) if frame["type"] == "message"} == {hostile}
    assert not connected.all("#log img, #log script")
    assert connected.browser.title == "Gearyard WebSocket"


def test_logging_out_closes_the_socket_and_another_user_gets_another(connected: Page) -> None:
    connected.press("Log in as owner")
    connected.sees("(owner)", "#who")
    connected.sees("closed with 1000", "#log .event")
    connected.press("Connect")
    connected.sees('"ready"', "#log .received")
    connected.press("Log out")
    connected.sees("Not connected.", "#state")
    assert not connected.find("#connect").is_enabled()
    assert not connected.find("#send").is_enabled()


def test_the_protocol_is_there_to_be_read(page: Page) -> None:
    page.open("/docs/socket")
    page.sees("One order.", "#protocol")
    headings = {each.text for each in page.all("#protocol h2")}
    assert {"Connecting", "Frames of the client", "Frames of the service", "Ends", "Limits"} <= headings
    assert "token_expiring" in page.find("#protocol table").text or len(page.all("#protocol table")) > 3
