from __future__ import annotations

import re

import click
import pytest

from dagster_s3inc.cli.command import cli
from tests.cli.shown import PAGE, page_with_outputs


def test_shown_output_is_what_the_commands_print() -> None:
    """The page's commands print what the page shows (`python -m tests.cli.shown`)."""
    assert PAGE.read_text("utf-8") == page_with_outputs()


@pytest.mark.parametrize("name", list(cli.commands))
def test_every_option_is_on_the_page(name: str) -> None:
    """Each option of each command is on the page."""
    page = PAGE.read_text("utf-8")
    options = [each for each in cli.commands[name].params if isinstance(each, click.Option)]
    assert {each.opts[0] for each in options} <= set(re.findall(r"`(--[\w-]+)", page))


def test_every_option_on_the_page_exists() -> None:
    """The page names no option that no command has."""
    known = {option for each in cli.commands.values() for one in each.params for option in one.opts}
    assert set(re.findall(r"(?<![\w-])--[a-z][\w-]*", PAGE.read_text("utf-8"))) <= known
