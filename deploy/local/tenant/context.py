"""What every endpoint of one running tenant shares."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from flask import current_app
from itsdangerous import URLSafeTimedSerializer

from .codes import CodeBook
from .config import Config
from .faults import Faults
from .keys import KeyRing
from .store import Store
from .tokens import TokenMaker


@dataclass
class Tenant:
    """The tenant's parts. ``existing_user_code`` is what a second sign-up of one e-mail address is answered with."""

    config: Config
    keys: KeyRing
    store: Store
    tokens: TokenMaker
    faults: Faults
    signer: URLSafeTimedSerializer
    codes: CodeBook = field(default_factory=CodeBook)
    existing_user_code: str = "user_exists"

    @classmethod
    def open(cls, config: Config, state: Path, cookie_key: bytes) -> Tenant:
        """Load or make the state in its directory. Raises StateError."""
        keys = KeyRing(state / "keys.json")
        signer = URLSafeTimedSerializer(cookie_key, salt="authorization request")
        return cls(config, keys, Store(state / "tenant.sqlite3"), TokenMaker(config, keys), Faults(), signer)


def tenant() -> Tenant:
    """The tenant that this request is made to."""
    return cast(Tenant, current_app.extensions["tenant"])
