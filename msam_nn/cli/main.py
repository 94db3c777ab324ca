"""Entry point of the ``msam`` command.

Sub-command ``a-b`` lives in ``msam_nn/cli/a_b.py``, which has ``add_parser(subparsers)`` and ``run(args) -> int``.
Modules import what is heavy inside ``run``, so that ``msam --help`` is quick.
"""

import argparse
import io
import sys
from importlib import import_module

from msam_nn import __version__
from msam_nn.errors import UserError

COMMANDS = (
    "doctor",
    "demo",
    "check",
    "predict",
    "prompts",
    "serve",
    "clicks",
    "compare",
    "arena",
    "transfer",
    "convert-weights",
    "inspect",
    "export",
)


def _module(command: str):
    return import_module(f"msam_nn.cli.{command.replace('-', '_')}")


def build_parser() -> argparse.ArgumentParser:
    """The parser with all sub-commands."""
    parser = argparse.ArgumentParser(prog="msam", description="M-SAM for nnU-Net v2.")
    parser.add_argument("--version", action="version", version=f"msam_nn {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="command", required=True)
    for command in COMMANDS:
        _module(command).add_parser(subparsers)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run ``msam`` and return its exit status: 2 with one sentence for a :class:`UserError` or what the system refuses,
    130 when interrupted.

    Characters that the terminal's encoding lacks are printed as ``?``.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    args = build_parser().parse_args(argv)
    try:
        return _module(args.command).run(args)
    except UserError as error:
        print(f"msam {args.command}: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        about = f"{error.filename}: " if error.filename else ""
        what = f"{about}{error.strerror or error}: check that place, or name another."
        print(f"msam {args.command}: {what}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"msam {args.command}: interrupted.", file=sys.stderr)
        return 130
