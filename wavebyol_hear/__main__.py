"""The command `wavebyol`, and `python -m wavebyol_hear`: a table of sub-commands.

A sub-command is a module with `add_arguments(parser)` and `run(args) -> int`, imported only when
it is chosen, so that `wavebyol --help` waits for nothing. `args.words` is what follows its name.
"""

import argparse
import difflib
import importlib
import sys
from collections.abc import Sequence
from typing import NamedTuple, NoReturn

from wavebyol_hear.files.atomic import LockedError
from wavebyol_hear.files.command import KEPT, run_command
from wavebyol_hear.files.extras import MissingExtraError
from wavebyol_hear.files.threads import add_threads

PROGRAM = "wavebyol"
FAILED = 2
"""Exit status of a command that could not begin or go on, as argparse has it for its own errors."""


class Command(NamedTuple):
    """A sub-command: its module, one line for the help, and what an interrupt leaves."""

    module: str
    help: str
    interrupted: str = "nothing was written"


COMMANDS: dict[str, Command] = {
    "embed": Command(
        "wavebyol_hear.files.embed_command",
        "Embed audio files, folders, tar shards or datasets, to Parquet or NumPy files",
        KEPT,
    ),
    "search": Command(
        "wavebyol_hear.files.search", "Find the embedded files most similar to a file"
    ),
    "map": Command(
        "wavebyol_hear.files.map", "Draw a map of embedded files as an HTML page that plays them"
    ),
    "train": Command("wavebyol_hear.classify.train", "Train a classifier on labeled audio files"),
    "predict": Command("wavebyol_hear.classify.predict", "Classify audio files"),
    "info": Command("wavebyol_hear.info", "Describe a weights file and its training"),
    "export": Command(
        "wavebyol_hear.export.command", "Export the model as an ONNX file or a torch.export program"
    ),
}


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command itself; sub-commands parse what follows their names."""
    lines = [f"  {name:<10} {command.help}" for name, command in COMMANDS.items()]
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        usage=f"{PROGRAM} [--version] COMMAND ...",
        description="Audio embeddings with WaveBYOL-HEAR or any other HEAR module.",
        epilog="\n".join(
            ["commands:", *lines, "", f"`{PROGRAM} COMMAND --help` describes the options."]
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    parser.add_argument("command", nargs="?", metavar="COMMAND", help="see below")
    parser.add_argument("rest", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a sub-command and return its exit status.

    Args:
        arguments: of the command line; None takes the process's own.
    """
    parser = build_parser()
    args = parser.parse_args(arguments)
    if args.version:
        package = importlib.import_module("wavebyol_hear")  # loaded before this file
        sys.stdout.write(f"{PROGRAM} {package.__version__}\n")
        return 0
    if args.command is None:
        parser.print_help()
        return 0
    if args.command not in COMMANDS:
        near = difflib.get_close_matches(args.command, COMMANDS, n=1)
        guess = f"did you mean {near[0]}?" if near else f"there are {', '.join(COMMANDS)}"
        parser.error(f"no command {args.command!r}: {guess}")
    own = argparse.ArgumentParser(
        prog=f"{PROGRAM} {args.command}", description=f"{COMMANDS[args.command].help}."
    )
    try:
        module = importlib.import_module(COMMANDS[args.command].module)
        module.add_arguments(own)
        add_threads(own)
        parsed = own.parse_args(args.rest, argparse.Namespace(words=args.rest))
        return int(module.run(parsed))
    except KeyboardInterrupt as error:
        raise type(error)(str(error) or COMMANDS[args.command].interrupted) from None
    except (ValueError, LockedError, MissingExtraError) as error:
        if type(error) is ValueError:
            raise  # only named errors are messages to a user: this one is a fault of ours
        return _failed(own.prog, str(error))
    except BrokenPipeError:
        raise
    except OSError as error:
        name = f"{error.filename}: " if error.filename else ""
        return _failed(own.prog, f"{name}{error.strerror or error}")


def _failed(program: str, message: str) -> int:
    """Say in one line why a command could not do its work, and return its exit status."""
    sys.stderr.write(f"{program}: error: {' '.join(message.split())}\n")
    return FAILED


def entry() -> NoReturn:
    """Run the command of the process: what `wavebyol` in setup.cfg calls."""
    run_command(main)


if __name__ == "__main__":
    entry()
