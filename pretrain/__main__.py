r"""Train an encoder: `python -m pretrain STORE --out runs/NAME [--preset P] [--set KEY=VALUE]`.

A run can be stopped or killed at any time: the same command resumes it. `--set optim.steps=N`
changes its length.

One GPU, or the CPU if there is none:
    python -m pretrain STORE --out runs/h2

One node with 8 GPUs. `optim.batch` is the batch size over all processes. If torchrun hangs because
the host name does not resolve, add --local-addr 127.0.0.1:
    torchrun --standalone --nproc-per-node 8 -m pretrain STORE --out runs/h2

N nodes; run this on each of them (runs/ on a shared disk, the store on it or copied to each node):
    torchrun --nnodes N --nproc-per-node 8 --rdzv-backend c10d --rdzv-endpoint HOST:29500 \
        -m pretrain STORE --out runs/h2

SLURM, in an sbatch script with --nodes=N --ntasks-per-node=1 --gpus-per-node=8:
    srun torchrun --nnodes $SLURM_NNODES --nproc-per-node 8 --rdzv-id $SLURM_JOB_ID \
        --rdzv-backend c10d --rdzv-endpoint $(scontrol show hostnames | head -1):29500 \
        -m pretrain STORE --out runs/h2

Exit code: 0 finished; 1 error; 130 or 143 stopped by Ctrl-C or SIGTERM (after the current step,
which is saved; a second signal stops at once).
"""

if __name__ == "__main__":  # before imports that take seconds
    from wavebyol_hear.files.command import run_command, start_command

    start_command()

import argparse
import logging
import sys
from contextlib import closing
from pathlib import Path

from wavebyol_hear.files.command import manual_parser
from wavebyol_hear.files.threads import add_threads


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code.

    Args:
        argv: of the command line; None takes the process's own.
    """
    parser = manual_parser("pretrain", __doc__)
    presets = sorted(path.stem for path in Path(__file__).parent.glob("configs/*.yaml"))
    add = parser.add_argument
    add(
        "data",
        nargs="+",
        metavar="STORE",
        help="folder made by `python -m pretrain.store`; with --stream tar shards: files, folders, "
        "URLs (http, s3, gs, hf, pipe:), patterns such as shard-{0000..0999}.tar",
    )
    add("--stream", action="store_true", help="decode tar shards while training")
    add("--out", type=Path, required=True, metavar="DIR", help="folder of the run")
    add("--preset", default="default", help=f"one of {', '.join(presets)} (default: default)")
    add("--config", metavar="FILE", help="YAML file with changes to the preset")
    add(
        "--method",
        help="byol, byol_a, cola, ssast, delores_s or delores_m; same as --set method=METHOD",
    )
    add(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="sets",
        help="change one value of the configuration, such as optim.steps=10000; repeatable",
    )
    add(
        "--device",
        default="auto",
        choices=("auto", "cpu", "cuda"),
        help="torch device (default: cuda if available)",
    )
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
