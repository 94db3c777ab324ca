"""Write docs/commands.md from the commands' own help: ``python docs/write_commands.py``."""

import argparse
import os
from pathlib import Path

os.environ["COLUMNS"] = "110"  # argparse wraps its help at the width of the terminal

from msam_nn.cli.main import build_parser  # noqa: E402

PAGE = Path(__file__).with_name("commands.md")


def actions_of(command: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    """The parsers of a command's own actions, as of ``msam prompts create``."""
    actions = [a for a in command._actions if isinstance(a, argparse._SubParsersAction)]
    return [parser for action in actions for parser in action.choices.values()]


def page() -> str:
    """The page's Markdown."""
    parser = build_parser()
    subparsers = next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    short = {action.dest: action.help for action in subparsers._choices_actions}
    lines = ["# Commands", "", "Written by `python docs/write_commands.py` from the commands' own help.", ""]
    lines += ["| command | what it does |", "|---|---|"]
    lines += [f"| [`msam {name}`](#msam-{name}) | {short[name]} |" for name in subparsers.choices]
    for name, command in subparsers.choices.items():
        lines += ["", f"## msam {name}"]
        for described in [command, *actions_of(command)]:
            lines += ["", "```text", described.format_help().rstrip(), "```"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
