"""A browser for a module of tests, and a clean window for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from harness import launch
from playwright.sync_api import Browser, Page, sync_playwright


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium; ended with the module, since its event loop would stand in the way of tests with their own."""
    with sync_playwright() as playwright:
        opened = launch(playwright)
        yield opened
        opened.close()


@pytest.fixture
def window(browser: Browser) -> Iterator[Page]:
    """A window of 1280 by 900 with nothing remembered."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, locale="en-US")
    page = context.new_page()
    yield page
    context.close()
