"""Conversations and messages over HTTP."""

from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from flask import request, url_for

from app.auth.identity import caller
from app.messages import runtime, schemas, service
from app.messages.values import MessageList, MessagePage
from app.web.api import BASE_PATH, Blueprint
from app.web.idempotency import idempotent
from app.web.openapi.responses import headers

blueprint = Blueprint(
    "conversations", __name__, url_prefix=f"{BASE_PATH}/conversations", description="Conversations and their messages."
)


@blueprint.route("")
@blueprint.arguments(schemas.ConversationQuery, location="query")
@blueprint.response(200, schemas.Conversation(many=True))
def list_conversations(query: dict[str, Any]) -> Any:
    """List one's conversations, latest activity first; `Link: rel="next"` leads on."""
    found, cursor = service.list_own(caller().user_id, **query)
    return found, _link(cursor=cursor, limit=query["limit"]) if cursor else {}


@blueprint.route("", methods=["POST"])
@idempotent
@blueprint.arguments(schemas.NewConversation)
@blueprint.response(201, schemas.Conversation, headers=headers("Location"))
@blueprint.alt_response(
    200, schema=schemas.Conversation, description="The one that exists already.", headers=headers("Location")
)
def begin_conversation(wanted: dict[str, Any]) -> Any:
    """Begin a conversation; for the same people and listing it is the one that exists."""
    conversation, is_new = service.begin(caller(), **wanted)
    location = url_for("conversations.get_conversation", conversation_id=conversation["id"])
    return conversation, 201 if is_new else 200, {"Location": location}


@blueprint.route("/<uuid:conversation_id>")
@blueprint.response(200, schemas.Conversation)
def get_conversation(conversation_id: UUID) -> dict[str, Any]:
    """Show one conversation, with who takes part and how far each has read."""
    return service.get(conversation_id, caller().user_id)


@blueprint.route("/<uuid:conversation_id>/messages")
@blueprint.arguments(schemas.MessageQuery, location="query")
@blueprint.response(200, schemas.Message(many=True))
def list_messages(page: MessagePage, conversation_id: UUID) -> Any:
    """List messages, newest first, or, with `after_seq`, oldest first; `Link: rel="next"` leads on."""
    found = service.list_messages(conversation_id, caller().user_id, page)
    return found.messages, _link_after(found, page)


@blueprint.route("/<uuid:conversation_id>/messages", methods=["POST"])
@idempotent
@blueprint.arguments(schemas.NewMessage)
@blueprint.response(201, schemas.Message)
@blueprint.alt_response(200, schema=schemas.Message, description="It was sent before, with this client_msg_id.")
def send_message(message: dict[str, Any], conversation_id: UUID) -> Any:
    """Send a message."""
    sent = service.send(runtime.current().bus, caller(), conversation_id, **message)
    return sent.message, 200 if sent.is_repeated else 201


@blueprint.route("/<uuid:conversation_id>/read", methods=["POST"])
@blueprint.arguments(schemas.Read)
@blueprint.response(204)
def mark_read(read: dict[str, Any], conversation_id: UUID) -> None:
    """Note how far one has read: up to `seq`, or all."""
    service.mark_read(runtime.current().bus, caller(), conversation_id, **read)


def _link_after(found: MessageList, page: MessagePage) -> dict[str, str]:
    end = found.last_seq if page.oldest_first else 1
    if not found.messages or found.messages[-1].seq == end:
        return {}
    return _link(**{"after_seq" if page.oldest_first else "before_seq": found.messages[-1].seq}, limit=page.limit)


def _link(**query: Any) -> dict[str, str]:
    """RFC 8288."""
    return {"Link": f'<{request.path}?{urlencode(query)}>; rel="next"'}
