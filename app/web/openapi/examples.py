"""One true value of everything: Ada lists a kayak, Ben asks for it, an admin keeps order.

The tests send what is a request, and check each value against the schema that it stands by.
"""

from typing import Any

from app.errors import Problem

REQUEST_ID = "3f2b8c9d5e6a4f70a1b2c3d4e5f60718"
ETAG = '"7.1f09a3"'
LINK = '</api/v1/equipment?q=kayak&cursor=Vf3a9c>; rel="next"'
ADA, BEN, ROOT = (
    "5b0f6d9e-3a44-4d0c-8a56-1f9f5f3c7d21",
    "c1a7e2b4-0f1d-4b6e-9d53-2e8b7a6c5d40",
    "8e7d6c5b-4a39-4827-9615-04f3e2d1c0ba",
)
EQUIPMENT, PHOTO = "0d5f0e0c-5a0b-4b42-9a53-6f0f2c7e8a11", "f4c3b2a1-6e5d-4c7b-8a99-10213243a5b6"
CONVERSATION, MESSAGE = "522600b1-7c1e-4b2f-8d7a-9e0f1a2b3c4d", "4b12c3d4-e5f6-4789-8abc-def012345678"
# Two of the default categories: they are the same in every installation.
WATER_SPORTS, KAYAKS = "fc2b8d58-6d59-58d8-84f2-bebb17e77f80", "9a38d514-dbdb-51d1-ae7b-b194992a2ceb"
CURSOR = "4QbL0x3m2nVbMSwiMjAyNi0xMS0yNVQwMzowNSIsIjBkNWYiXQ"
MADE, CHANGED, SAID = (
    "2026-11-20T09:30:00+00:00",
    "2026-11-24T17:05:12.250000+00:00",
    "2026-11-25T03:05:15.535000+00:00",
)
TOKEN = "eyJhbGciOiJSUzI1NiIsImtpZCI6IjEifQ.eyJzdWIiOiJhdXRoMHw2NWYifQ.c2lnbmF0dXJl"  # noqa: S105 - signs nothing

COORDINATES = {"latitude": -43.603, "longitude": 172.719}
AVATAR, PHOTO_URL = "https://example.com/ada.jpg", "https://example.com/kayak.jpg"
PREFERENCES, BUSINESS = {"pickup": "weekends", "languages": ["en", "de"]}, {"pickup": "weekends", "since": 2019}

_photo = {"id": PHOTO, "photo_url": PHOTO_URL, "is_primary": True, "order_index": 0}
_new_equipment = {
    "category_id": KAYAKS,
    "title": "Sea kayak, 5.2 m",
    "description": "With paddle, spray skirt and two dry bags.",
    "daily_rate": "38.50",
    "condition": "good",
    "location": "Lyttelton, New Zealand",
    "coordinates": COORDINATES,
}
_item = {
    "id": EQUIPMENT,
    "owner_id": ADA,
    **_new_equipment,
    "is_available": True,
    "photos": [_photo],
    "created_at": MADE,
    "updated_at": CHANGED,
}
_found = {**_item, "distance_km": 0.343}
_page = {"total": 1, "page": 1, "limit": 20, "total_pages": 1, "next_cursor": None}
_feature = {
    "type": "Feature",
    "id": EQUIPMENT,
    "geometry": {"type": "Point", "coordinates": [172.719, -43.603]},
    "properties": {name: value for name, value in _found.items() if name != "coordinates"},
}
_kayaks = {"id": KAYAKS, "name": "Kayaks & canoes", "parent_id": WATER_SPORTS, "created_at": MADE, "children": []}
_public_user = {"id": ADA, "username": "ada", "avatar_url": AVATAR}
_account = {**_public_user, "email": "ada@example.com", "role": "owner", "full_name": "Ada Kowhai"}
_message = {
    "id": MESSAGE,
    "conversation_id": CONVERSATION,
    "sender_id": BEN,
    "sender_name": "ben",
    "content": "Is it free on Friday?",
    "created_at": SAID,
    "seq": 1,
    "client_msg_id": "m-1",
}
_read = {"last_read_at": SAID, "last_read_seq": 1}
_unread = {"last_read_at": None, "last_read_seq": 0}
_conversation = {
    "id": CONVERSATION,
    "equipment_id": EQUIPMENT,
    "participants": [
        {"user_id": ADA, "username": "ada", "avatar_url": AVATAR, **_unread},
        {"user_id": BEN, "username": "ben", "avatar_url": None, **_read},
    ],
    "last_message": _message,
    "last_seq": 1,
    "unread_count": 1,
    "created_at": MADE,
    "updated_at": SAID,
}
_seen_user = {name: _account[name] for name in ("id", "email", "role", "username", "full_name")}
_moderated_user = {**_seen_user, "created_at": MADE, "equipment_count": 1}
_moderated_equipment = {
    **{name: _item[name] for name in ("id", "title", "owner_id", "category_id")},
    **{name: _item[name] for name in ("daily_rate", "is_available", "created_at")},
    "owner_email": "ada@example.com",
    "category_name": "Kayaks & canoes",
}
_entry = {
    "id": 17,
    "created_at": CHANGED,
    "actor_id": ROOT,
    "actor_username": "admin",
    "action": "user.role_changed",
    "subject_id": ADA,
    "before": {"role": "renter"},
    "after": {"role": "owner"},
    "request_id": REQUEST_ID,
}

# By the name of the schema.
BODIES: dict[str, Any] = {
    "SignUp": {"email": "ada@example.com", "password": "Lake-kayaks-1843", "username": "ada"},
    "SignedUp": {
        "id": ADA, "email": "ada@example.com", "email_verified": False, "auth0_id": "auth0|65f1c0ffee1234567890abcd",
    },
    "LogIn": {"email": "ada@example.com", "password": "Lake-kayaks-1843"},
    "Refresh": {"refresh_token": "v1.MdJ2kQpXb0mWcR8sTzYh"},
    "Tokens": {
        "access_token": TOKEN, "refresh_token": None, "id_token": TOKEN, "token_type": "Bearer", "expires_in": 86400,
    },
    "Me": _account,
    "PublicUser": _public_user,
    "UserChanges": {"full_name": "Ada Kowhai", "avatar_url": AVATAR},
    "UserDetails": _account,
    "OwnerProfileBody": {"business_info": BUSINESS},
    "OwnerProfileView": {"business_info": BUSINESS, "role": "owner"},
    "RenterProfileBody": {"preferences": PREFERENCES, "experience_level": "advanced"},
    "RenterProfileView": {"preferences": PREFERENCES, "experience_level": "advanced"},
    "NewEquipment": _new_equipment,
    "EquipmentChanges": {"daily_rate": 42, "is_available": False},
    "Item": _item,
    "EquipmentPage": {"items": [_found], **_page},
    "FeatureCollection": {
        "type": "FeatureCollection", "features": [_feature], "bbox": [172.719, -43.603, 172.719, -43.603], **_page,
    },
    "NewPhoto": {"photo_url": PHOTO_URL},
    "Photo": _photo,
    "Category": {
        "id": WATER_SPORTS, "name": "Water Sports", "parent_id": None, "created_at": MADE, "children": [_kayaks],
    },
    "NewConversation": {"equipment_id": EQUIPMENT},
    "Conversation": _conversation,
    "NewMessage": {"content": "Is it free on Friday?", "client_msg_id": "m-1"},
    "Message": _message,
    "Read": {"seq": 1},
    "Stats": {"total_users": 84, "total_equipment": 1200, "available_equipment": 1110, "total_categories": 34},
    "RoleChange": {"role": "owner"},
    "User": _moderated_user,
    "UserPage": {"users": [_moderated_user], "total": 1, "page": 1, "per_page": 20},
    "AvailabilityChange": {"is_available": False},
    "ModeratedEquipment": _moderated_equipment,
    "ModeratedEquipmentPage": {"equipment": [_moderated_equipment], "total": 1, "page": 1, "per_page": 20},
    "NewCategory": {"name": "Sailing dinghies", "parent_id": WATER_SPORTS},
    "CategoryChanges": {"name": "Sailing boats", "parent_id": None},
    "AuditLogPage": {"entries": [_entry], "total": 1, "page": 1, "per_page": 20, "next_cursor": None},
}  # fmt: skip

# What is in a path, by its name: what it is, and one.
PATH_PARAMETERS = {
    "user_id": ("The user's id.", ADA),
    "equipment_id": ("The listing's id.", EQUIPMENT),
    "photo_id": ("The photo's id.", PHOTO),
    "category_id": ("The category's id.", WATER_SPORTS),
    "conversation_id": ("The conversation's id.", CONVERSATION),
}

# What is in a query, by its name. Not all of them go together.
QUERY_PARAMETERS: dict[str, Any] = {
    "page": 1, "limit": 20, "per_page": 20, "cursor": CURSOR, "offset": 0, "before_seq": 41, "after_seq": 40,
    "category_id": WATER_SPORTS, "owner_id": ADA, "actor_id": ROOT, "subject_id": ADA,
    "min_price": "10.00", "max_price": "40.00", "lat": -43.6, "lng": 172.72, "radius_km": 25,
    "bbox": "172.4,-43.8,173.0,-43.4", "is_available": True, "condition": "good", "q": "sea kayak", "sort": "distance",
    "search": "ada", "role": "owner", "action": "user.role_changed",
    "since": "2026-11-01T00:00:00Z", "until": "2026-12-01T00:00:00Z",
}  # fmt: skip

# By the code: the message, the path that was asked for, and the fields that are wrong.
ERRORS: dict[str, tuple[str, str, tuple[Problem, ...]]] = {
    "VALIDATION_ERROR": (
        "title: Length must be between 3 and 200.",
        "/api/v1/equipment",
        (Problem("title", "Length must be between 3 and 200."),),
    ),
    "BAD_REQUEST": (
        "The body is not valid JSON: unexpected end of data: line 1 column 2 (char 1).", "/api/v1/equipment", ()
    ),
    "UNAUTHORIZED": (
        "This needs an access token: send it as `Authorization: Bearer …`.", "/api/v1/auth/me", ()
    ),
    "TOKEN_EXPIRED": ("The token has expired.", "/api/v1/auth/me", ()),
    "INVALID_TOKEN": ("The token is not valid.", "/api/v1/auth/me", ()),
    "INVALID_CREDENTIALS": ("E-mail, password or refresh token are not right.", "/api/v1/auth/auth0/login", ()),
    "FORBIDDEN": ("This is for admins.", "/api/v1/admin/stats", ()),
    "NOT_FOUND": ("There is no such equipment.", f"/api/v1/equipment/{EQUIPMENT}", ()),
    "METHOD_NOT_ALLOWED": (
        "The method is not allowed for the requested URL.", "/api/v1/categories", ()
    ),
    "NOT_ACCEPTABLE": (
        "This is given as application/json, and Accept leaves that out.", "/api/v1/categories", ()
    ),
    "CONFLICT": (
        "This username is taken.", f"/api/v1/users/{ADA}", (Problem("username", "This username is taken.", "taken"),)
    ),
    "PRECONDITION_FAILED": (
        "This has changed since you read it; read it again, and then change it.", f"/api/v1/equipment/{EQUIPMENT}", ()
    ),
    "IDEMPOTENCY_KEY_REUSED": (
        "This Idempotency-Key came with another request; take a new one for each.", "/api/v1/equipment", ()
    ),
    "PAYLOAD_TOO_LARGE": (
        "The data value transmitted exceeds the capacity limit.", "/api/v1/equipment", ()
    ),
    "UNSUPPORTED_MEDIA_TYPE": ("Send the body as application/json.", "/api/v1/equipment", ()),
    "RATE_LIMITED": ("Too many requests; slow down.", "/api/v1/equipment", ()),
    "INTERNAL_ERROR": (
        "Something went wrong on our side; the request id helps us find it.", "/api/v1/equipment", ()
    ),
    "SERVICE_UNAVAILABLE": (
        "The service is busy or restarting; try again shortly.", "/api/v1/equipment", ()
    ),
}  # fmt: skip
