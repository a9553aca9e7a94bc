"""Links and contents of the built site. Collected only if it was built."""

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

SITE = Path(__file__).parents[1] / "doc/_build/html"


class Page(HTMLParser):
    """Links and anchors of a page."""

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


def test_internal_links_have_targets():
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


class Loaded(HTMLParser):
    """Resources that a page loads, and its lines of code."""

    def __init__(self, path):
        super().__init__()
        self.urls, self.code, self.inside = [], "", 0
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag in ("script", "img", "iframe", "source"):
            self.urls.append(attrs.get("src"))
        elif tag == "link" and attrs.get("rel") in ("stylesheet", "preload", "icon"):
            self.urls.append(attrs["href"])
        self.inside += tag == "pre"

    def handle_endtag(self, tag):
        self.inside -= tag == "pre"

    def handle_data(self, data):
        if self.inside:
            self.code += data


def test_pages_load_without_a_network():
    paths = [p for p in SITE.rglob("*.html") if "_static" not in p.parts]
    for path in paths:
        loaded = [url for url in Loaded(path).urls if url]
        assert not [url for url in loaded if urlsplit(url).netloc], path
    pages = [path for path in paths if "math notranslate" in path.read_text()]
    assert len(pages) > 5
    for path in pages:
        (script,) = [url for url in Loaded(path).urls if url and "mathjax" in url]
        assert (path.parent / urlsplit(script).path).exists()
    fonts = SITE / "_static/mathjax/output/chtml/fonts/woff-v2"
    assert len(list(fonts.glob("*.woff"))) > 20


def test_code_of_the_guide_fits_its_column():
    # The column has room for 88 characters at 1280 px: _static/skrbf.css.
    for path in [SITE / "index.html", *SITE.glob("guide/*.html")]:
        assert "skrbf.css" in path.read_text()
        assert max(map(len, Loaded(path).code.splitlines()), default=0) <= 88, path


def test_pages_show_no_markup_errors():
    for path in SITE.glob("guide/*.html"):
        text = re.sub(r"<(script|style).*?</\1>", "", path.read_text(), flags=re.S)
        assert "problematic" not in text, path
