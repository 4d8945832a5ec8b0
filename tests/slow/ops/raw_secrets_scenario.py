"""The part of the scenario that needs connections of its own: sockets, and requests that gunicorn cannot read."""

from contextlib import suppress
from uuid import uuid4

from tests.slow.ops.secrets_scenario import AUTH, CONTROLS, Scenario
from tests.support.http_raw import receive
from tests.support.ws_raw import RawSocket, upgrade

POST = f"POST {AUTH}/login?q={{line}} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
GET = "GET /ws?token={line} HTTP/1.1\r\nHost: x\r\n"
MALFORMED = (
    "{line}\r\n\r\n",
    "GET /ws?token={line} HTTP/9.9\r\n\r\n",
    "GET /ws?token={line}" + "x" * 9000 + " HTTP/1.1\r\n\r\n",
    "G{line}T / HTTP/1.1\r\nHost: x\r\n\r\n",
    GET + "{header} : x\r\n\r\n",
    GET + "Authorization: Bearer {header}\x00\r\n\r\n",
    GET + "X-Request-Id: {header}\x1b[31m\r\n\r\n",
    GET + "Authorization: {header}" + "x" * 20_000 + "\r\n\r\n",
    GET + "X: y\r\n folded {header}\r\n\r\n",
    GET + "Content-Length: {header}\r\n\r\n",
    GET + "Transfer-Encoding: {header}\r\n\r\n",
    GET + "Expect: {header}\r\n\r\n",
    GET + "Authorization: {header}",
    POST + "Transfer-Encoding: chunked\r\n\r\n{header}\r\n\r\n",
    POST + 'Content-Length: 900\r\n\r\n{{"password": "{header}',
)


def sockets(scenario: Scenario, talk: str) -> None:
    """Sockets that open and that do not, and frames of every kind."""
    _refused(scenario)
    for path, headers in (
        (f"/ws?v=2&token={scenario.token}", {}),
        ("/ws?v=2", {"Sec-WebSocket-Protocol": f"bearer, {scenario.token}"}),
        ("/ws?v=2", scenario.bearer(scenario.token)),
    ):
        with RawSocket(scenario.service.port) as raw:
            raw.open(path, headers)
            _speak(scenario, raw, talk)
    for token in (scenario.plants.new("auth frame"), scenario.token, {"x": scenario.plants.new("no auth frame")}):
        with RawSocket(scenario.service.port) as raw, suppress(EOFError):
            raw.open()
            raw.say("auth", token=token, v=2)
            raw.hear()


def _refused(scenario: Scenario) -> None:
    new = scenario.plants.new
    for path, headers in (
        (f"/ws?token={new('socket ?token=')}", {}),
        ("/ws", {"Sec-WebSocket-Protocol": f"bearer, {new('subprotocol')}"}),
        ("/ws", {"Sec-WebSocket-Protocol": f"{new('protocol', 'a{}')}, b"}),
        ("/ws", scenario.bearer(new("socket Authorization"))),
        ("/ws", {"Origin": new("Origin", "https://{}.example")}),
    ):
        with RawSocket(scenario.service.port) as raw:
            scenario.statuses.add(raw.ask(upgrade(path, headers)).status)


def _speak(scenario: Scenario, raw: RawSocket, talk: str) -> None:
    new = scenario.plants.new
    raw.say("message", conversation_id=talk, content=f"{new('frame')}\nforged")
    raw.say("message", conversation_id=str(uuid4()), content=new("frame to nowhere"))
    raw.say("message", conversation_id=new("no id"), content={"x": new("no text")})
    raw.say(new("type") + CONTROLS, token=new("payload"))
    raw.send(b"\x81\x80\0\0\0\0")  # an empty text frame
    raw.say("ping")
    while raw.hear().json()["type"] != "pong":
        pass


def malformed(scenario: Scenario) -> None:
    """What gunicorn cannot read: with its own errors, below the service. None of them repeats what was sent."""
    line, header = scenario.plants.new("request line"), scenario.plants.new("header")
    for form in MALFORMED:
        answer = receive(scenario.service.port, form.format(line=line, header=header).encode("latin-1"))
        assert line.encode() not in answer
        assert header.encode() not in answer
