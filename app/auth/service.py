"""Users of valid tokens; sign-up, login and refresh at the identity provider.

A user is matched by (issuer, subject) alone. An e-mail links a new identity to an existing user only if both sides are
verified: the token says `email_verified: true`, and the user's own address was verified before. So neither an
unverified token nor an account created earlier with another person's address takes a user over.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session
from zxcvbn import zxcvbn

from app.auth import login_throttle, repository
from app.auth.auth0 import Auth0Client
from app.auth.principal import Identity, SubjectClaims
from app.auth.tokens import TokenVerifier, VerifiedToken
from app.common.email import email_claims, is_same_email
from app.db.batching import BatchLoader
from app.db.session import run_in, single_statement, transaction
from app.errors import Forbidden, GearyardError, InvalidInput, Unavailable, UsernameTaken
from app.settings import LoginLimits

PROVISIONING_ATTEMPTS = 3
SIGN_UP_PROVISIONING_ATTEMPTS = 2
MACHINE_SUBJECT_SUFFIX = "@clients"
# zxcvbn's time grows steeply with the length, and it does not yield to other greenlets: at the worst, 24 characters
# take 55 ms, 72 take 6 s. A password with a strong beginning is strong.
ESTIMATED_CHARACTERS = 24
MIN_PASSWORD_SCORE = 2  # of zxcvbn's 0 to 4: "somewhat guessable" and better

log = structlog.get_logger(__name__)


def identify(token: VerifiedToken, *, fetch_userinfo: Callable[[], Mapping[str, Any]]) -> Identity:
    """Return the user of a token, who is created at the first use. Concurrent calls for known users share a query.

    Auth0's access tokens carry no e-mail without an Action. It is fetched from userinfo, at the first use only.

    Raises Forbidden (the token is an application's: Auth0, "Client Credentials Flow"), InvalidToken (the user was
    deleted), Unavailable (the identity provider is needed and does not answer).
    """
    if token.subject.endswith(MACHINE_SUBJECT_SUFFIX):
        raise Forbidden("The token belongs to an application, not to a user.")
    known = _known.get((token.issuer, token.subject))
    if known is not None:
        user = known.existing_user()
        if user.email_verified or token.verified_email is None or _find_holder(token.verified_email):
            return user
    elif token.email is None and f"{token.issuer}userinfo" in token.audience:
        userinfo = fetch_userinfo()
        # OpenID Connect Core §5.3.2: claims about another subject must not be used.
        email, email_verified = email_claims(userinfo if userinfo.get("sub") == token.subject else {})
        token = replace(token, email=email, email_verified=email_verified)
    return provision(token)


_known = BatchLoader(run_in(single_statement, repository.find_identities))
_find_holder = run_in(single_statement, repository.find_holder)


def provision(claims: SubjectClaims, *, username: str | None = None, full_name: str | None = None) -> Identity:
    """Return the identity's user: its own, the one with its verified e-mail, or a new one.

    Concurrent calls create one user: the unique constraints decide, and the losers read again. Raises InvalidToken if
    the identity's user was deleted, which is final.
    """
    for _ in range(PROVISIONING_ATTEMPTS):
        try:
            with transaction() as session:
                return _find_link_or_create(session, claims, username, full_name)
        except UsernameTaken:
            username = None  # taken since it was checked, and the account exists: the database generates a username
        except repository.IdentityTaken:
            continue
    raise repository.IdentityTaken


def _find_link_or_create(
    session: Session, claims: SubjectClaims, username: str | None, full_name: str | None
) -> Identity:
    key, email = (claims.issuer, claims.subject), claims.verified_email
    known = repository.find_identity(session, key)
    if known is not None:
        if known.email_verified or email is None or repository.find_holder(session, email) is not None:
            return known
        repository.confirm_email(session, known.user_id, email)
        return repository.get_identity(session, key)
    holder = repository.find_holder(session, email) if email is not None else None
    if email is not None and holder is not None and is_same_email(holder.email or "", email):
        user_id = holder.id
    else:
        # The database takes the address for the holder's, so it can be verified for one user only.
        claims = claims if holder is None else replace(claims, email_verified=False)
        user_id = repository.add_user(session, claims, username=username, full_name=full_name)
    repository.add_identity(session, key, user_id)
    return repository.get_identity(session, key)


def sign_up(
    identity_provider: Auth0Client,
    *,
    email: str,
    password: str,
    username: str | None = None,
    full_name: str | None = None,
) -> dict[str, Any]:
    """Create an account at the identity provider, and its user under the subject that its tokens carry.

    Raises Conflict (the e-mail or username is taken), InvalidInput (a weak password), TooManyRequests, Unavailable.
    """
    if username is not None:
        with transaction() as session:
            repository.refuse_taken_username(session, username)
    _refuse_weak_password(password, [email, username or "", full_name or ""])
    account = identity_provider.sign_up(email, password)
    identity = _provision_account(account, username=username, full_name=full_name)
    return {
        "id": identity.user_id,
        "email": account.email,
        "email_verified": account.email_verified,
        "auth0_id": account.subject,
    }


def _provision_account(claims: SubjectClaims, *, username: str | None, full_name: str | None) -> Identity:
    """Provision an account that exists at the identity provider, where another sign-up would be a conflict.

    Raises Unavailable if the account has no user yet. Its first login creates one.
    """
    for _ in range(SIGN_UP_PROVISIONING_ATTEMPTS):
        try:
            return provision(claims, username=username, full_name=full_name)
        except (SQLAlchemyError, repository.IdentityTaken) as error:
            log.warning("sign_up_not_provisioned", reason=type(error).__name__)
    raise Unavailable("The account was created, but is not complete. Log in to complete it.", retry_after_seconds=5)


def log_in(
    identity_provider: Auth0Client,
    id_tokens: TokenVerifier,
    limits: LoginLimits,
    *,
    email: str,
    password: str,
    client_address: str,
) -> Mapping[str, Any]:
    """Exchange e-mail and password for tokens. The user is provisioned with the e-mail of the ID token.

    Raises InvalidCredentials, Forbidden, TooManyRequests (by the throttle or the identity provider), Unavailable.
    """
    with login_throttle.attempt(limits, email=email, client_address=client_address):
        tokens = identity_provider.log_in(email, password, client_address=client_address)
    try:
        provision(id_tokens.verify(str(tokens.get("id_token"))))
    except (GearyardError, SQLAlchemyError) as error:
        # The tokens are valid, and the first request with them provisions the user.
        log.warning("login_not_provisioned", reason=type(error).__name__)
    return tokens


def _refuse_weak_password(password: str, personal: list[str]) -> None:
    estimate = zxcvbn(password[:ESTIMATED_CHARACTERS], user_inputs=personal)
    if estimate["score"] < MIN_PASSWORD_SCORE:
        advice = estimate["feedback"]["warning"] or "Use a few uncommon words."
        raise InvalidInput.of("password", f"Too easy to guess. {advice}", "too_weak")
