"""What gunicorn and the `flask` command load. gevent patches first, before anything can import a socket."""

from gevent import monkey

monkey.patch_all()

from app import create_app  # noqa: E402

app = create_app()
