"""The command `bedrock-rft`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command with the arguments of this process, and exit with its status."""
    arguments = sys.argv[1:]
    if arguments == ["--version"]:  # scripts ask for the version often, so answer without imports
        from bedrock_rft._core.output import print_line
        from bedrock_rft._core.version import __version__

        print_line(f"bedrock-rft {__version__}")
        sys.exit(0)
    try:
        import click

        del click  # only checks that the extra is installed
    except ImportError:
        from bedrock_rft._core.output import print_error

        print_error("error: The command needs the extra 'cli': pip install 'bedrock_rft[cli]'")
        sys.exit(1)
    try:
        from bedrock_rft._cli.app import run

        code = run(arguments)
    except KeyboardInterrupt:  # Ctrl-C during the imports
        code = 130
    sys.exit(code)
