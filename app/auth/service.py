"""Identities: from a token that holds to the user it stands for; sign-up, login and refresh at the tenant.

A user is matched by (issuer, subject) alone. An e-mail links a new identity to an existing user only where both sides
are proven: the token says `email_verified: true`, and the user's own address was verified before. So neither an
unverified token, nor an account made beforehand with somebody else's address, takes anything over.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session
from zxcvbn import zxcvbn

from app.auth import login_throttle, repository
from app.auth.auth0 import Auth0Client
from app.auth.principal import Identity, SubjectClaims
from app.auth.repository import IdentityKey, KnownIdentity
from app.auth.tokens import TokenVerifier, VerifiedToken
from app.db.batching import BatchLoader
from app.db.session import single_statement, transaction
from app.email_address import email_claims
from app.errors import Forbidden, GearyardError, InvalidInput, UsernameTaken
from app.settings import LoginLimits

PROVISIONING_ATTEMPTS = 3
MACHINE_SUBJECT_SUFFIX = "@clients"
# zxcvbn's time grows steeply with the length, and it gives way to nobody: at the worst, 24 characters take 55 ms, 72
# take 6 s. What is strong in its beginning is strong.
ESTIMATED_CHARACTERS = 24
MIN_PASSWORD_SCORE = 2  # of zxcvbn's 0 to 4: "somewhat guessable" and better

log = structlog.get_logger(__name__)


def identify(token: VerifiedToken, *, fetch_userinfo: Callable[[], Mapping[str, Any]]) -> Identity:
    """Find the user of a token, or make one: first use provisions. One query for a user who is known, and for others
    who are asked for at the same time.

    An access token need not carry an e-mail (Auth0's do not, without an Action); then, at first use only, the tenant
    is asked for it.

    Raises:
        Forbidden: the token is an application's own (Auth0, "Client Credentials Flow").
        InvalidToken: its user was deleted.
        Unavailable: the tenant is needed and does not answer.
    """
    if token.subject.endswith(MACHINE_SUBJECT_SUFFIX):
        raise Forbidden("This token stands for an application, not for a person.")
    claims = _claims_of(token)
    known = _known.get((token.issuer, token.subject))
    if known is not None:
        user = known.user_still_there()
        email = _email_to_prove(user, claims)
        if email is None or _is_proven(email):
            return user
    elif claims.email is None and f"{token.issuer}userinfo" in token.audience:
        claims = _claims_of_userinfo(token, fetch_userinfo())
    return provision(claims)


def _find_known(keys: Sequence[IdentityKey]) -> Mapping[IdentityKey, KnownIdentity]:
    with single_statement() as connection:
        return repository.find_identities(connection, keys)


_known: BatchLoader[IdentityKey, KnownIdentity] = BatchLoader(_find_known)


def _email_to_prove(user: Identity, claims: SubjectClaims) -> str | None:
    """The address that the issuer vouches for, where the user's own is not proven yet."""
    return None if user.email_verified else claims.verified_email


def _is_proven(email: str) -> bool:
    with single_statement() as connection:
        return repository.find_holder(connection, email) is not None


def provision(claims: SubjectClaims, *, username: str | None = None, full_name: str | None = None) -> Identity:
    """Make sure that the identity has a user: the one it has, the one its verified e-mail proves, or a new one.

    Any number of calls at once make one user: the unique constraints decide, and who lost reads again.

    Raises:
        InvalidToken: it had a user, who was deleted. Nothing brings that user back.
    """
    for _ in range(PROVISIONING_ATTEMPTS):
        try:
            with transaction() as session:
                return _find_link_or_create(session, claims, username, full_name)
        except UsernameTaken:
            username = None  # taken since it was checked; the account exists at the tenant, so a made-up one serves
        except repository.IdentityTaken:
            continue
    raise repository.IdentityTaken


def _find_link_or_create(
    session: Session, claims: SubjectClaims, username: str | None, full_name: str | None
) -> Identity:
    known = repository.find_identity(session, claims.issuer, claims.subject)
    if known is not None:
        email = _email_to_prove(known, claims)
        if email is None or repository.find_holder(session, email) is not None:
            return known
        repository.confirm_email(session, known.user_id, email)
        return repository.get_identity(session, claims.issuer, claims.subject)
    email = claims.verified_email
    holder = repository.find_holder(session, email) if email is not None else None
    if email is not None and holder is not None and holder.has_proven(email):
        user_id = holder.user_id
    else:
        # A proof of what the database takes for somebody else's address cannot be kept.
        claims = claims if holder is None else replace(claims, email_verified=False)
        user_id = repository.add_user(session, claims, username=username, full_name=full_name)
    repository.add_identity(session, claims.issuer, claims.subject, user_id)
    return repository.get_identity(session, claims.issuer, claims.subject)


def sign_up(
    tenant: Auth0Client, *, email: str, password: str, username: str | None, full_name: str | None
) -> dict[str, Any]:
    """Make an account at the tenant and its user here, under the subject that its tokens will carry.

    Raises:
        Conflict: the e-mail or the username is taken. InvalidInput: the password is weak. TooManyRequests, Unavailable.
    """
    if username is not None:
        with transaction() as session:
            repository.refuse_taken_username(session, username)
    _refuse_weak_password(password, [email, username or "", full_name or ""])
    account = tenant.sign_up(email, password)
    claims = SubjectClaims(
        issuer=account.issuer, subject=account.subject, email=account.email, email_verified=account.email_verified
    )
    identity = provision(claims, username=username, full_name=full_name)
    return {
        "id": identity.user_id,
        "email": account.email,
        "email_verified": account.email_verified,
        "auth0_id": account.subject,
    }


def log_in(
    tenant: Auth0Client,
    id_tokens: TokenVerifier,
    limits: LoginLimits,
    *,
    email: str,
    password: str,
    client_address: str,
) -> Mapping[str, Any]:
    """Exchange e-mail and password for the tenant's tokens. What the ID token says of the e-mail is taken down.

    Raises:
        InvalidCredentials, Forbidden, TooManyRequests (the throttle's, or the tenant's own), Unavailable.
    """
    with login_throttle.attempt(limits, email=email, client_address=client_address):
        tokens = tenant.log_in(email, password, client_address=client_address)
    try:
        provision(_claims_of(id_tokens.verify(str(tokens.get("id_token")))))
    except (GearyardError, SQLAlchemyError) as error:
        # The tokens are good all the same, and the first request with them provisions.
        log.warning("login_not_provisioned", reason=type(error).__name__)
    return tokens


def refresh(tenant: Auth0Client, refresh_token: str) -> Mapping[str, Any]:
    """Exchange a refresh token for fresh tokens.

    Raises:
        InvalidCredentials: it is not, or no longer, good. Forbidden, TooManyRequests, Unavailable.
    """
    return tenant.refresh(refresh_token)


def _refuse_weak_password(password: str, personal: list[str]) -> None:
    estimate = zxcvbn(password[:ESTIMATED_CHARACTERS], user_inputs=personal)
    if estimate["score"] < MIN_PASSWORD_SCORE:
        advice = estimate["feedback"]["warning"] or "Use a few uncommon words."
        raise InvalidInput.of("password", f"Too easy to guess. {advice}", "too_weak")


def _claims_of(token: VerifiedToken) -> SubjectClaims:
    return SubjectClaims(
        issuer=token.issuer, subject=token.subject, email=token.email, email_verified=token.email_verified
    )


def _claims_of_userinfo(token: VerifiedToken, answer: Mapping[str, Any]) -> SubjectClaims:
    # OpenID Connect Core §5.3.2: an answer about another subject must not be used.
    email, email_verified = email_claims(answer if answer.get("sub") == token.subject else {})
    return SubjectClaims(issuer=token.issuer, subject=token.subject, email=email, email_verified=email_verified)
