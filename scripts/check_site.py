"""Checks that every relative link and anchor of a built site leads somewhere.

usage: python3 scripts/check_site.py DIRECTORY
"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """The links and the anchors of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.anchors.update(v for v in (values.get("id"), values.get("name")) if v)
        self.links += [v for v in (values.get("href"), values.get("src")) if v]


def main() -> int:
    root = Path(sys.argv[1]).resolve()
    pages = {path: Page(path.read_text()) for path in sorted(root.rglob("*.html"))}
    broken, seen = [], 0
    for path, page in pages.items():
        if path.name in ("print.html", "404.html", "toc.html"):
            continue
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            seen += 1
            to = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            anchor = unquote(parts.fragment)
            if not to.exists() or anchor and to in pages and anchor not in pages[to].anchors:
                broken.append(f"{path.relative_to(root)}: {link}")
    print(f"{len(pages)} pages, {seen} links, {len(broken)} broken")
    print("\n".join(broken))
    return 1 if broken or not seen else 0


if __name__ == "__main__":
    sys.exit(main())
