"""Gearyard: the backend of a peer-to-peer equipment rental marketplace."""

from flask import Flask

from app import maintenance
from app.admin import routes as admin
from app.auth import identity
from app.auth import routes as auth
from app.db import session
from app.demo import commands as demo
from app.equipment import routes as equipment
from app.messages import asyncapi, runtime, socket
from app.messages import routes as messages
from app.observability import failures, logging
from app.settings import Settings
from app.users import commands as users_commands
from app.users import routes as users
from app.web import (
    api,
    cors,
    docs,
    errors,
    etags,
    health,
    metrics_endpoint,
    rate_limits,
    request_context,
)
from app.web.application import Application


def create_app(settings: Settings | None = None) -> Flask:
    """Build the service. Connects to nothing yet. Raises InvalidSettings if those of the environment are invalid."""
    settings = settings or Settings.from_env()
    app = Application(__name__, static_folder=None)
    app.extensions["settings"] = settings
    logging.configure(settings)
    failures.configure(settings)
    session.configure(settings)

    request_context.init_app(app, settings)
    # Hooks run before a request in this order, and after it in the reverse.
    metrics_endpoint.init_app(app, settings)
    cors.init_app(app, settings)
    errors.init_app(app)
    provider = identity.init_app(app, settings)
    rate_limits.init_app(app, settings)
    identity.init_access(app)
    etags.init_app(app)
    runtime.init_app(app, settings)
    health.init_app(app, settings, is_draining=lambda: runtime.current().hub.is_draining, probe=provider.fetch_metadata)
    docs.init_app(app)

    # The slices.
    rest = api.make_api(app)
    rest.register_blueprint(auth.blueprint)
    rest.register_blueprint(users.blueprint)
    rest.register_blueprint(equipment.blueprint)
    rest.register_blueprint(equipment.categories_blueprint)
    rest.register_blueprint(messages.blueprint)
    rest.register_blueprint(admin.blueprint)
    socket.init_app(app)
    asyncapi.init_app(app)
    for command in (users_commands.users, maintenance.maintenance, demo.seed):
        app.cli.add_command(command)
    return app
