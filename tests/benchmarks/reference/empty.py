"""A Flask view that does nothing: what the framework and the server leave room for."""

from gevent import monkey

monkey.patch_all()

from flask import Flask  # noqa: E402

app = Flask(__name__, static_folder=None)


@app.get("/")
def empty() -> str:
    return ""
