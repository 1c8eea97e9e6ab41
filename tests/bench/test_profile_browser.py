"""The page as Chromium shows it: nothing fails, the pictures are there, it fits a phone."""

import os
import re
import shutil

import pytest
from sample_profile import sample

from umd_engine.bench.profile.page import write_page

pytestmark = pytest.mark.browser
SCRIPT = "<script>alert(1)</script>"
DRAWN = "document.querySelectorAll('.drawn .main-svg').length >= document.querySelectorAll('.drawn').length"
COLOURS = "(style => [style.color, style.backgroundColor])(getComputedStyle(document.body))"


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    options = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium refuses root without
    with sync_api.sync_playwright() as playwright:
        try:
            started = playwright.chromium.launch(executable_path=found, args=options)
        except sync_api.Error as error:
            if found is None:
                pytest.skip(f"no Chromium: {str(error).splitlines()[0]}")
            raise
        yield started
        started.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "page.html"
    write_page(sample(name=SCRIPT), path)
    return path.as_uri()


@pytest.mark.parametrize("theme", ("light", "dark"))
@pytest.mark.parametrize("width", (390, 1280))
def test_a_page_is_shown_whole(browser, address, width, theme):
    page, said, asked = browser.new_page(viewport={"width": width, "height": 844}, color_scheme=theme), [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: (said.append("a dialog"), dialog.dismiss()))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    page.wait_for_function(DRAWN)
    assert not said and asked == [address]
    assert page.evaluate("document.documentElement.scrollWidth") == width  # no scrolling sideways
    assert (
        page.locator(".drawn").count() == 6
    )  # bars; calls, memory and roofline of one, calls and roofline of the other
    assert page.locator(".drawn .barlayer path").count() == 5 and page.locator(".drawn .box").count() >= 4
    assert page.locator("h2", has_text=SCRIPT).count() == 1
    assert SCRIPT in page.locator(".drawn").first.text_content()
    ink, paper = (sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in page.evaluate(COLOURS))
    assert abs(ink - paper) > 500 and (ink > paper) == (theme == "dark")
    page.close()


def test_a_page_is_printed_in_ink_on_paper(browser, address):
    page = browser.new_page(color_scheme="dark")
    page.goto(address)
    pdf = page.pdf(format="A4")
    assert pdf.startswith(b"%PDF") and len(pdf) > 20_000
    page.close()
