"""A hook of mkdocs: pages may link to files of this project that are outside `docs`."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, InclusionLevel

ROOT = Path(__file__).parent.parent
LINK = re.compile(r"(\]\()((?:\.\./)+[^)#\s]+)")


def on_files(files: Any, config: Any) -> Any:
    """Adds each file outside `docs` that a page links to, at the place of the same name."""
    for page in [each for each in files if each.is_documentation_page()]:
        for target in _outside(page):
            if files.get_file_from_path(target) is None:
                added = File.generated(config, target, abs_src_path=str(ROOT / target))
                added.inclusion = InclusionLevel.NOT_IN_NAV
                files.append(added)
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Makes the links to them links within the site."""
    outside = _outside(page.file)

    def inside(found: re.Match[str]) -> str:
        target = _target(page.file, found[2])
        if target not in outside:
            return found[0]
        return found[1] + posixpath.relpath(target, posixpath.dirname(page.file.src_uri))

    return LINK.sub(inside, markdown)


def _outside(file: Any) -> set[str]:
    text = Path(file.abs_src_path).read_text("utf-8") if file.abs_src_path else ""
    found = {_target(file, link) for _, link in LINK.findall(text)}
    return {each for each in found if each and (ROOT / each).is_file()}


def _target(file: Any, link: str) -> str:
    """Where a link leads from the root of the project, if that is outside `docs`; else nothing."""
    path = posixpath.normpath(posixpath.join("docs", posixpath.dirname(file.src_uri), link))
    return "" if path.startswith(("docs/", "..")) else path
