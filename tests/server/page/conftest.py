"""Chromium without a window, and nothing but this machine to reach."""

import shutil

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="module")
def chromium():
    """The system's Chromium, drawing in software; closed before other modules run, since playwright keeps the thread's
    event loop and ``asyncio.run`` wants it."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is installed")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=program, args=list(ARGUMENTS))
        yield browser
        browser.close()


@pytest.fixture
def faults():
    """What went wrong in the tab; a test that expects something clears the list."""
    return []


@pytest.fixture
def page(chromium, faults):
    """An empty tab; whatever goes wrong in it fails the test, and so does a request to anywhere else."""
    tab = chromium.new_page(viewport={"width": 860, "height": 540}, accept_downloads=True)
    tab.set_default_timeout(120_000)
    tab.on("pageerror", lambda error: faults.append(str(error)))
    tab.on("console", lambda message: message.type == "error" and faults.append(message.text))
    tab.on("dialog", lambda dialog: faults.append(dialog.message))
    tab.on("request", lambda request: is_elsewhere(request.url) and faults.append(f"asked {request.url}"))
    yield tab
    tab.close()
    assert not faults


def is_elsewhere(url: str) -> bool:
    return not url.startswith(("http://127.0.0.1", "http://localhost", "http://page.test", "data:", "blob:"))
