"""What goes with a deleted user, what stays with others, and what the audit log keeps."""

from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from flask.testing import FlaskClient

from app.auth import service as auth
from app.auth.principal import SubjectClaims
from app.common.precondition import UNCONDITIONAL
from app.errors import NotFound
from app.models import (
    Conversation,
    ConversationParticipant,
    Equipment,
    EquipmentPhoto,
    ExternalIdentity,
    Message,
    OwnerProfile,
    RenterProfile,
    User,
)
from app.settings import OwnerSignup
from app.users import service
from tests.support.admin_api import audit_log, delete_user
from tests.support.assertions import assert_error
from tests.support.processes.tenant import TenantProcess
from tests.support.rows import Person, add_conversation, add_equipment, count_rows
from tests.support.users import ChatUser, chat_user


def test_it_takes_what_is_personal_and_what_they_listed(
    client: FlaskClient, admin: Person, owner: Person, renter: Person
) -> None:
    equipment_id = add_equipment(owner.id, photos=2)
    kept = add_equipment(admin.id, photos=1)
    for profile in ("owner-profile", "renter-profile"):
        body = {"business_info": {}} if profile == "owner-profile" else {"preferences": {}}
        assert client.put(f"/api/v1/users/me/{profile}", json=body, headers=owner.headers).status_code == 200
    add_conversation(owner.id, renter.id)

    answer = delete_user(client, admin, owner.id)

    assert (answer.status_code, answer.data) == (204, b"")
    for model in (OwnerProfile, RenterProfile, ConversationParticipant, ExternalIdentity):
        assert count_rows(model, user_id=owner.id) == 0, model
    assert (count_rows(User, id=owner.id), count_rows(Equipment, owner_id=owner.id)) == (0, 0)
    assert count_rows(EquipmentPhoto, equipment_id=equipment_id) == 0
    for path in (f"users/{owner.id}", f"equipment/{equipment_id}"):
        assert client.get(f"/api/v1/{path}").status_code == 404
    assert len((client.get(f"/api/v1/equipment/{kept}").json or {})["photos"]) == 1
    assert_error(delete_user(client, admin, owner.id), 404, "NOT_FOUND")


def test_others_keep_what_was_written_to_them_without_its_sender(
    client: FlaskClient, admin: Person, ada: ChatUser, ben: ChatUser, owner: Person
) -> None:
    owning = chat_user(client, owner)
    talk = ada.begin(owning, equipment_id=add_equipment(owner.id))
    ada.send(talk, "Fine")
    owning.send(talk, "Yours is gone by Monday")

    assert delete_user(client, admin, owner.id).status_code == 204

    newest, oldest = ada.messages(talk)
    assert (newest["sender_id"], newest["sender_name"]) == (None, None)
    assert (newest["content"], oldest["sender_id"]) == ("Yours is gone by Monday", ada.id)
    shown = ada.conversation(talk)
    assert (shown["equipment_id"], shown["unread_count"], shown["last_message"]) == (None, 1, newest)
    assert [one["user_id"] for one in shown["participants"]] == [ada.id]
    assert ada.conversations() == [talk]
    assert ada.send(talk, "Anybody there?")["seq"] == 3


def test_what_nobody_is_left_to_read_goes_with_the_last_of_them(
    client: FlaskClient, admin: Person, newcomer: Callable[[], ChatUser]
) -> None:
    ada, ben, eve = newcomer(), newcomer(), newcomer()
    talk, others = ada.begin(ben), eve.begin(ben)
    for one, where in ((ada, talk), (ben, talk), (eve, others)):
        one.send(where, "Between us")

    assert delete_user(client, admin, ada.uuid).status_code == 204
    assert [message["content"] for message in ben.messages(talk)] == ["Between us"] * 2
    assert delete_user(client, admin, ben.uuid).status_code == 204

    assert (count_rows(Conversation, id=UUID(talk)), count_rows(Message, conversation_id=UUID(talk))) == (0, 0)
    assert ada.get(f"/{talk}").status_code == 401
    assert eve.get(f"/{talk}").status_code == 404
    assert [message["content"] for message in eve.messages(others)] == ["Between us"]


def test_the_audit_log_keeps_no_more_of_a_person_than_it_needs(
    client: FlaskClient, admin: Person, owner: Person
) -> None:
    username = (client.get(f"/api/v1/users/{owner.id}").json or {})["username"]
    delete_user(client, admin, owner.id, **{"X-Request-Id": "request-of-a-test"})
    assert audit_log() == [
        {
            "actor_id": admin.id,
            "action": "user.deleted",
            "subject_id": owner.id,
            "before": {"role": "owner", "username": username},
            "after": None,
            "request_id": "request-of-a-test",
        }
    ]


SAVES = {
    "the owner profile": partial(
        service.save_owner_profile, values={"business_info": {}}, signup=OwnerSignup.OPEN, only_if=UNCONDITIONAL
    ),
    "the renter profile": partial(service.save_renter_profile, values={"preferences": {}}, only_if=UNCONDITIONAL),
    "the account": lambda who: service.change(who, who.user_id, {"full_name": "Sam"}, only_if=UNCONDITIONAL),
}


@pytest.mark.parametrize("save", SAVES.values(), ids=SAVES)
def test_a_change_under_way_while_its_user_is_deleted_finds_nobody(
    client: FlaskClient, tenant: TenantProcess, admin: Person, renter: Person, save: Any
) -> None:
    claims = SubjectClaims(issuer=tenant.issuer, subject=renter.subject, email=None, email_verified=False)
    who = auth.provision(claims)
    delete_user(client, admin, renter.id)
    with pytest.raises(NotFound):
        save(who)
