"""Links of the site lead somewhere, inside it. Collected only where it was built."""

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

SITE = Path(__file__).parents[1] / "doc/_build/html"


class Page(HTMLParser):
    """What a page links to, and what can be linked to in it."""

    def __init__(self, path):
        super().__init__()
        self.links, self.anchors = [], {"", "top"}
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.anchors |= {attrs.get("id"), attrs.get("name")}
        for name in ("href", "src"):
            if attrs.get(name):
                self.links.append(attrs[name])


def test_every_internal_link_leads_somewhere():
    paths = [p for p in SITE.rglob("*.html") if "_static" not in p.parts]
    pages = {path: Page(path) for path in paths}
    broken = []
    for path, page in pages.items():
        for link in page.links:
            url = urlsplit(link)
            if url.scheme or url.netloc:
                continue
            target = (path.parent / unquote(url.path)).resolve() if url.path else path
            anchor = unquote(url.fragment)
            if not target.exists() or (
                target in pages and anchor not in pages[target].anchors
            ):
                broken.append(f"{path.relative_to(SITE)}: {link}")
    assert len(pages) > 20
    assert not broken


def test_pages_show_nothing_unfinished():
    for path in SITE.glob("guide/*.html"):
        text = re.sub(r"<(script|style).*?</\1>", "", path.read_text(), flags=re.S)
        assert "problematic" not in text, path
