"""RabbitMQ's console in a browser, as an operator uses it: pages, sections, forms and buttons."""

import io
import json
import pathlib
import urllib.parse

from PIL import Image
from playwright.sync_api import sync_playwright

from fleet import OPERATOR, PASSWORD, wait_until

VIEWPORT = {"width": 1100, "height": 760}
# Enough for the few colours of the console, and a third of the size.
COLOURS = 48
MARGIN = 8  # pixels around what a screenshot shows
# The header of the console stays at the top of the window, and would cover a part of the picture.
UNFIX = """() => {
  for (const element of document.querySelectorAll('body, body > div, #outer > div'))
    if (getComputedStyle(element).position === 'fixed') element.style.position = 'absolute';
  window.scrollTo(0, 0);
}"""


class Console:
    """A browser that is logged in as the operator. Close it at the end."""

    def __init__(self, url, screenshots):
        self.url, self.screenshots = url, pathlib.Path(screenshots)
        self.screenshots.mkdir(parents=True, exist_ok=True)
        self._playwright = sync_playwright().start()
        self._browser = self._playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox"]
        )
        self.page = self._browser.new_page(viewport=VIEWPORT)
        self.page.set_default_timeout(15_000)
        self.page.on("dialog", lambda dialog: dialog.accept())
        self._log_in()

    def close(self):
        self._browser.close()
        self._playwright.stop()

    def _log_in(self):
        self.page.goto(f"{self.url}/")
        self.page.fill("input[name=username]", OPERATOR)
        self.page.fill("input[name=password]", PASSWORD)
        self.page.click("input[type=submit]")
        self.page.wait_for_selector("text=Log out")

    def open(self, *path):
        """Opens a page anew, such as `queues`, `fetchline`, `fetchline.urls`."""
        path = "/".join(urllib.parse.quote(part, safe="") for part in path)
        self.page.goto("about:blank")  # another fragment alone loads no page
        self.page.goto(f"{self.url}/#/{path}")
        self.page.wait_for_selector("#main h1")

    def open_queue(self, name):
        self.open("queues", "fetchline", name)
        self.page.wait_for_selector(f"#main h1:has-text('{name}')")

    def section(self, heading):
        """The section with a heading, which is opened if it is closed."""
        section = self.page.locator("#main div", has=self.page.locator(f"> h2:text('{heading}')"))
        section = section.first
        content = section.locator("> .hider")
        if not content.is_visible():
            section.locator("> h2").click()
            content.wait_for(state="visible")
        return section

    def screenshot(self, name, first=None, last=None):
        """Saves what the page shows: from one element to another, one element, or all."""
        self.page.evaluate(UNFIX)
        first = first or self.page.locator("body")
        # Both are measured at the same time: the console draws its pages again and again.
        boxes = [element.bounding_box() for element in (first, last or first)]
        scrolled = self.page.evaluate("window.scrollY")
        top = boxes[0]["y"] + scrolled - MARGIN
        height = boxes[1]["y"] + boxes[1]["height"] + scrolled + MARGIN - top
        clip = {"x": 0, "y": max(top, 0), "width": VIEWPORT["width"], "height": height}
        picture = Image.open(io.BytesIO(self.page.screenshot(clip=clip, full_page=True)))
        picture = picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
        picture.save(self.screenshots / f"{name}.png", optimize=True)

    def queues(self):
        """The number of ready messages of each queue, as the page of the queues shows it."""
        self.open("queues")
        self.page.wait_for_selector("#main table.list tbody tr")
        headings = self.page.locator("#main table.list thead tr").last.locator("th")
        headings = [heading.strip() for heading in headings.all_inner_texts()]
        ready = headings.index("Ready")
        queues = {}
        for row in self.page.locator("#main table.list tbody tr").all():
            cells = [cell.strip() for cell in row.locator("td").all_inner_texts()]
            queues[cells[headings.index("Name")]] = cells[ready]
        return queues

    def connections(self):
        self.open("connections")
        return self.page.locator("#main").inner_text()

    def consumers(self, queue):
        """The tags of the consumers of a queue."""
        self.open_queue(queue)
        section = self.section("Consumers")
        if not section.locator("table.list").count():
            return []
        headings = section.locator("table.list thead th").all_inner_texts()
        tag = [heading.strip() for heading in headings].index("Consumer tag")
        rows = section.locator("table.list tbody tr").all()
        return [row.locator("td").nth(tag).inner_text().strip() for row in rows]

    def fill_message(self, payload, key=None):
        """Fills in "Publish message" on the present page."""
        section = self.section("Publish message")
        if key is not None:
            section.locator("input[name=routing_key]").fill(key)
        section.locator("textarea[name=payload]").fill(payload)
        return section

    def send(self, section):
        """Clicks the button of a section, and returns what the console answers."""
        section.locator("form input[type=submit]").click()
        popup = self.page.locator(".form-popup-info, .form-popup-warn, .form-popup-error").last
        popup.wait_for(state="visible")
        answer = popup.inner_text()
        popup.locator("span", has_text="Close").click()
        return answer

    def publish(self, key, payload):
        """Publishes to the exchange, as documented."""
        self.open("exchanges", "fetchline", "fetchline")
        return self.send(self.fill_message(payload, key))

    def direct(self, words):
        """Types words into the control stream."""
        self.open_queue("fetchline.control")
        answer = self.send(self.fill_message(words))
        assert "Message published" in answer, answer

    def move(self, queue, destination):
        """Moves the messages of a queue to another one."""
        self.open_queue(queue)
        section = self.section("Move messages")
        section.locator("input[name=dest-queue]").fill(destination)
        section.locator("form input[type=submit]").click()
        # The console goes back to the page of the queues.
        self.page.wait_for_selector("#main h1:text('Queues')")

    def messages(self, queue, count=500):
        """Looks at the messages of a queue: the text that the console shows of each."""
        self.open_queue(queue)
        section = self.section("Get messages")
        section.locator("input[name=count]").fill(str(count))
        section.locator("input[type=submit]").click()
        wait_until(
            f"the console shows the messages of {queue}",
            lambda: section.locator("#msg-wrapper").inner_text()
            or self.page.locator("text=Queue is empty").count(),
        )
        shown = section.locator("#msg-wrapper .box").all()
        return [(box.locator("pre.msg-payload").inner_text(), box.inner_text()) for box in shown]

    def message(self, number):
        """The message that `messages` has shown at this place, for a screenshot."""
        return self.page.locator("#msg-wrapper .box").nth(number)

    def news(self):
        return [json.loads(payload) for payload, _ in self.messages("fetchline.news")]

    def hears(self, kind, text=""):
        """Waits for news of a kind whose sentence contains a text."""

        def find():
            news = [fact for fact in self.news() if fact["kind"] == kind and text in fact["news"]]
            return news[-1] if news else None

        return wait_until(f"news of the kind {kind} with {text!r}", find)
