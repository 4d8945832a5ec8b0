"""`/openapi.json` is right, whole and true: an independent validator takes it, and what it shows can be sent."""

import json
import re
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import jsonschema
import pytest
from flask import Flask
from flask.testing import FlaskClient
from openapi_spec_validator import OpenAPIV31SpecValidator

from app import create_app
from app.settings import Settings
from app.web.access import is_public
from app.web.errors import codes_by_status
from app.web.openapi import responses
from tests.support.openapi_checks import resolved
from tests.support.processes.tenant import PASSWORD, TenantProcess
from tests.support.routes import ROUTES, Route, Scene
from tests.support.rows import Person, add_equipment, add_user

METHODS = ("get", "post", "put", "delete")
# Names of functions in generated clients: as stable as paths.
OPERATION_IDS = {
    *("signUp", "logIn", "refreshTokens", "getMe"),
    *("getUser", "changeUser", "listOwnEquipment", "getOwnerProfile", "saveOwnerProfile"),
    *("getRenterProfile", "saveRenterProfile"),
    *("searchEquipment", "createEquipment", "getEquipment", "changeEquipment", "deleteEquipment", "addPhoto"),
    *("deletePhoto", "listCategories", "getCategory"),
    *("listConversations", "beginConversation", "getConversation", "listMessages", "sendMessage", "markRead"),
    *("adminGetStats", "adminListUsers", "adminGetUser", "adminChangeRole", "adminDeleteUser", "adminListEquipment"),
    *("adminSetAvailability", "adminDeleteEquipment", "adminListCategories", "adminCreateCategory"),
    *("adminChangeCategory", "adminDeleteCategory", "adminListEntries"),
    *("getHealth", "getReadiness", "getMetrics", "getOpenApi", "getAsyncApi"),
}
# Of all members of answers, what is not always there.
OPTIONAL = {("Error", "details"), ("FeatureCollection", "bbox")} | {
    (name, "distance_km") for name in ("Item", "FeatureProperties")
}
EXAMPLES = responses.load("examples.json")
WITH_BODY = [row for row in ROUTES if row.body is not None]


@pytest.fixture(scope="session")
def document(app: Flask) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(app.test_client().get("/openapi.json").data)
    return found


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                yield path, method, item[method]


def contents(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every body that is described, with where it is."""
    for _, _, operation in operations(document):
        bodies = {"body": operation.get("requestBody", {}), **operation["responses"]}
        for status, found in bodies.items():
            for media_type, content in resolved(document, found).get("content", {}).items():
                yield f"{operation['operationId']} {status} {media_type}", content


def validator(document: dict[str, Any], schema: dict[str, Any]) -> Any:
    whole = {**schema, "components": document["components"]}
    return jsonschema.Draft202012Validator(whole, format_checker=jsonschema.FormatChecker())


class TestForm:
    def test_an_independent_validator_takes_it(self, document: dict[str, Any]) -> None:
        assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []
        assert document["openapi"].startswith("3.1")
        assert document["servers"][0]["url"] == "/"

    def test_every_worker_gives_the_same_one(self, settings: Settings, document: dict[str, Any]) -> None:
        again = create_app(settings).test_client().get("/openapi.json")
        assert json.dumps(again.json) == json.dumps(document)

    def test_every_reference_leads_somewhere(self, document: dict[str, Any]) -> None:
        for kind, name in set(re.findall(r'"#/components/(\w+)/([\w.-]+)"', json.dumps(document))):
            assert name in document["components"][kind]


class TestWhole:
    def test_every_route_of_the_api_is_described(self, app: Flask, document: dict[str, Any]) -> None:
        served = {
            (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method.lower())
            for rule in app.url_map.iter_rules()
            for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
            if rule.rule.startswith("/api/v1/") and not rule.rule.endswith("/ws")
        }
        described = {(path, method) for path, method, _ in operations(document)}
        assert served <= described
        assert {path for path, _ in described - served} <= {
            "/health", "/ready", "/metrics", "/openapi.json", "/asyncapi.json",
        }  # fmt: skip

    def test_every_operation_says_what_it_is(self, document: dict[str, Any]) -> None:
        tags = {tag["name"] for tag in document["tags"] if tag["description"]}
        for path, method, operation in operations(document):
            assert operation["summary"], (path, method)
            assert operation["description"], (path, method)
            assert set(operation["tags"]) <= tags

    def test_the_names_of_functions_stay(self, document: dict[str, Any]) -> None:
        names = [operation["operationId"] for _, _, operation in operations(document)]
        assert len(names) == len(set(names))
        assert set(names) == OPERATION_IDS

    def test_every_parameter_and_header_says_what_it_is_and_shows_one(self, document: dict[str, Any]) -> None:
        for path, item in document["paths"].items():
            for holder in (item, *(item[method] for method in METHODS if method in item)):
                for parameter in (resolved(document, found) for found in holder.get("parameters", [])):
                    assert parameter["description"], (path, parameter)
                    validator(document, parameter["schema"]).validate(parameter["example"])
        for header in document["components"]["headers"].values():
            assert header["description"]
            validator(document, header["schema"]).validate(header["example"])

    def test_every_answer_has_the_name_of_its_request(self, document: dict[str, Any]) -> None:
        for _, _, operation in operations(document):
            for answer in operation["responses"].values():
                assert "X-Request-Id" in resolved(document, answer)["headers"]

    def test_every_error_has_its_codes_and_no_other(self, document: dict[str, Any]) -> None:
        answers = document["components"]["responses"].values()
        described = {
            answer["content"]["application/json"]["schema"]["allOf"][1]["properties"]["status"]["const"]: set(
                answer["content"]["application/json"]["examples"]
            )
            for answer in answers
        }
        assert described == codes_by_status()
        codes = set().union(*described.values())
        assert set(document["components"]["schemas"]["Error"]["properties"]["code"]["enum"]) == codes
        assert codes == set(responses.load("errors.json")["examples"])

    def test_what_is_public_and_nothing_else_goes_without_a_token(self, app: Flask, document: dict[str, Any]) -> None:
        assert document["security"] == [{"bearer": []}]
        for row in ROUTES:
            path = next(rule.rule for rule in app.url_map.iter_rules(row.endpoint))
            item = document["paths"].get(re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", path))
            if item is not None and path.startswith("/api/v1/"):
                is_open = item[row.method.lower()].get("security") == []
                assert is_open == is_public(app.view_functions[row.endpoint]), row.endpoint


# The operations that take a header of the request.
TAKING: dict[str, set[str]] = {
    "Idempotency-Key": {"createEquipment", "addPhoto", "beginConversation", "sendMessage", "adminCreateCategory"},
    "If-Match": {
        *("adminChangeRole", "adminDeleteUser", "adminSetAvailability", "adminDeleteEquipment", "adminChangeCategory"),
        *("adminDeleteCategory", "changeEquipment", "deleteEquipment", "deletePhoto", "changeUser"),
        *("saveOwnerProfile", "saveRenterProfile"),
    },
}


@pytest.mark.parametrize("header", TAKING)
def test_an_operation_that_takes_a_header_says_so(document: dict[str, Any], header: str) -> None:
    taking = {
        operation["operationId"]: operation["responses"]
        for _, _, operation in operations(document)
        if any(parameter.get("name") == header for parameter in operation.get("parameters", []))
    }
    assert set(taking) == TAKING[header]
    if header == "Idempotency-Key":
        for responses in taking.values():
            assert "Idempotent-Replayed" in responses["201"]["headers"]
            assert responses["201"]["content"]["application/json"]["schema"]
            for status, name in (("409", "Conflict"), ("422", "UnprocessableContent")):
                assert responses[status] == {"$ref": f"#/components/responses/{name}"}


class TestShapes:
    """What generated clients make of it: what is always there is required, and what is taken is all that is named."""

    def test_every_member_of_an_answer_is_always_there(self, document: dict[str, Any]) -> None:
        taken = self.taken(document)
        optional = {
            (name, member)
            for name, schema in document["components"]["schemas"].items()
            for member in schema.get("properties", {})
            if name not in taken and member not in schema.get("required", ())
        }
        assert optional == OPTIONAL

    def test_a_body_has_no_other_members_and_an_answer_may_gain_some(self, document: dict[str, Any]) -> None:
        schemas = document["components"]["schemas"].items()
        assert {name for name, schema in schemas if schema.get("additionalProperties") is False} == self.taken(document)

    @staticmethod
    def taken(document: dict[str, Any]) -> set[str]:
        schemas = [
            operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
            for _, _, operation in operations(document)
            if "requestBody" in operation
        ]
        return {*schemas, "Coordinates"}


class TestExamples:
    def test_no_example_is_left_over(self, document: dict[str, Any]) -> None:
        text = json.dumps(document)
        schemas = set(document["components"]["schemas"])
        assert set(EXAMPLES["bodies"]) <= schemas
        for name in (*EXAMPLES["path_parameters"], *EXAMPLES["query_parameters"]):
            assert f'"name": "{name}"' in text

    def test_every_body_shows_one_and_it_fits(self, document: dict[str, Any]) -> None:
        shown = 0
        for where, content in contents(document):
            found = [one["value"] for one in content.get("examples", {}).values()] or [content["example"]]
            for example in found:
                errors = [error.message for error in validator(document, content["schema"]).iter_errors(example)]
                assert errors == [], where
                shown += 1
        assert shown > 300

    @pytest.mark.parametrize("row", WITH_BODY, ids=lambda row: row.endpoint)
    def test_every_body_that_is_shown_is_taken(
        self, client: FlaskClient, tenant: TenantProcess, admin: Person, document: dict[str, Any], row: Route
    ) -> None:
        rule = next(client.application.url_map.iter_rules(row.endpoint))
        item = document["paths"][re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)]
        body = item[row.method.lower()]["requestBody"]["content"]["application/json"]["example"]
        path = row.path(Scene(actor=admin, owner=admin))
        if row.endpoint == "admin.change_role":  # not one's own
            path = f"/api/v1/admin/users/{add_user()}/role"
        body = self.in_this_world(body, client, tenant)
        answer = client.open(path, method=row.method, json=body, headers=admin.headers)
        assert answer.status_code < 300, answer.text

    @staticmethod
    def in_this_world(body: dict[str, Any], client: FlaskClient, tenant: TenantProcess) -> dict[str, Any]:
        """The body, about things and people that there are here."""
        if "email" in body:
            body = {**body, "email": f"{uuid4().hex[:12]}@example.com"}
        if body.keys() == {"email", "password"}:
            tenant.add_user(**body)
        if "refresh_token" in body:
            email = f"{uuid4().hex[:12]}@example.com"
            tenant.add_user(email)
            tokens = client.post("/api/v1/auth/auth0/login", json={"email": email, "password": PASSWORD}).json or {}
            return {**body, "refresh_token": tokens["refresh_token"]}
        if body.get("equipment_id") == EXAMPLES["bodies"]["Item"]["id"]:
            return {**body, "equipment_id": str(add_equipment(add_user()))}
        return body
