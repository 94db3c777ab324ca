"""Running servers and sessions on a network whose answers are known."""

import contextlib
import threading
import time
from dataclasses import dataclass

import pytest

pytest.importorskip("fastapi", reason='needs pip install "msam_nn[serve]"')
pytest.importorskip("nnInteractive", reason='needs pip install "msam_nn[serve]"')

from .bright_network import bright, make_model  # noqa: E402

SHAPE = (20, 24, 40)
ROD = ((8, 11), (5, 9), (2, 36))
"""Longer than a window."""
BALL = ((3, 7), (14, 19), (10, 16))


@pytest.fixture(scope="session")
def model():
    return make_model()


@pytest.fixture
def session(model):
    """On an image with two bright objects."""
    from msam_nn.server.session import InteractiveSession

    session = InteractiveSession(model)
    session.set_image(bright((1, *SHAPE), ((0, 1), *ROD), ((0, 1), *BALL)), (1, 1, 1))
    session.prepare()
    return session


@dataclass
class Running:
    """A server in this process."""

    url: str
    app: object

    @property
    def registry(self):
        return self.app.state.registry


@pytest.fixture
def serve(model):
    """Start a server; settings as keywords."""
    import uvicorn

    from msam_nn.server.app import make_app
    from msam_nn.server.settings import Settings

    with contextlib.ExitStack() as stack:

        def start(**settings) -> Running:
            app = make_app(Settings(**{"model": model, **settings}))
            server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", timeout_graceful_shutdown=2))
            thread = threading.Thread(target=server.run, daemon=True)
            thread.start()
            while not server.started:
                assert thread.is_alive(), "the server did not start"
                time.sleep(0.01)

            def stop():
                server.should_exit = True
                thread.join(20)
                assert not thread.is_alive(), "the server did not end"

            stack.callback(stop)
            port = server.servers[0].sockets[0].getsockname()[1]
            return Running(f"http://127.0.0.1:{port}", app)

        yield start


@pytest.fixture
def connect():
    """A client of nnInteractive's, closed at the end."""
    from nnInteractive.inference.remote import nnInteractiveRemoteInferenceSession

    with contextlib.ExitStack() as stack:

        def make(server, **options):
            return stack.enter_context(nnInteractiveRemoteInferenceSession(server.url, **options))

        yield make
