"""Train an encoder: python -m pretrain STORE --out runs/NAME [--preset P] [--config F] [--set k=v].

STORE is a folder made by `python -m pretrain.store`, or several of them. With --stream, it is tar
shards that are read while training: files, folders, URLs (http, s3, gs, hf, `pipe:`),
`shard-{0000..0999}.tar`. Stopped or killed at any moment and started again with the same command,
the run goes on; `--set optim.steps=N` lengthens it.

One GPU (or the CPU, where there is none):
    python -m pretrain STORE --out runs/h2

One node of 8 GPUs; `optim.batch` stays the batch over all processes (where the node's own name does
not resolve, torchrun waits for ever: add --local-addr 127.0.0.1):
    torchrun --standalone --nproc-per-node 8 -m pretrain STORE --out runs/h2

N nodes, on each of them (the store and runs/ on a disk that all see, or the store copied):
    torchrun --nnodes N --nproc-per-node 8 --rdzv-backend c10d --rdzv-endpoint HOST:29500 \
        -m pretrain STORE --out runs/h2

SLURM, inside sbatch with --nodes=N --ntasks-per-node=1 --gpus-per-node=8:
    srun torchrun --nnodes $SLURM_NNODES --nproc-per-node 8 --rdzv-id $SLURM_JOB_ID \
        --rdzv-backend c10d --rdzv-endpoint $(scontrol show hostnames | head -1):29500 \
        -m pretrain STORE --out runs/h2

Exit code: 0 when done, 1 after an error, 130 or 143 when stopped by Ctrl-C or SIGTERM (the step
under way is ended and saved; a second signal stops at once).
"""

if __name__ == "__main__":  # before imports that take seconds
    from wavebyol_hear.files.command import run_command, start_command

    start_command()

import argparse
import logging
import sys
from contextlib import closing
from pathlib import Path

from wavebyol_hear.files.threads import add_threads


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code.

    Args:
        argv: of the command line; None takes the process's own.
    """
    summary, _, manual = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        prog="python -m pretrain",
        description=summary,
        epilog=manual,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("data", nargs="+", metavar="STORE", help="folders of decoded clips")
    parser.add_argument("--stream", action="store_true", help="read tar shards while training")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--preset", default="default", help="default, paper, slim, tiny, ...")
    parser.add_argument("--config", help="YAML file of differences from the preset")
    parser.add_argument(
        "--method",
        help="byol, byol_a, cola, ssast, delores_s or delores_m; short for --set method=...",
    )
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="sets")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    add_threads(parser)
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    return _train(args)


def _train(args: argparse.Namespace) -> int:
    """Train as the arguments say and return the exit code."""
    # Here, so that arguments are checked, and signals handled, before torch is imported.
    from pretrain.config import read_config
    from pretrain.data.store import Store
    from pretrain.distributed import keep_freed_memory, process_group
    from pretrain.train import DivergedError, train
    from pretrain.views import open_stream
    from wavebyol_hear.files.atomic import LockedError

    keep_freed_memory()
    sets = [*args.sets, *([f"method={args.method}"] if args.method else [])]
    try:
        config = read_config(args.preset, args.config, sets)
        with process_group(args.device) as device:
            if args.stream:
                with closing(open_stream(args.data, config)) as shards:
                    weights = train(config, shards, args.out.expanduser(), device)
            else:
                store = Store.join([Store.open(Path(path).expanduser()) for path in args.data])
                weights = train(config, store, args.out.expanduser(), device)
    except (DivergedError, LockedError, ValueError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    sys.stdout.write(f"weights: {weights}\n")
    return 0


if __name__ == "__main__":
    run_command(main)
