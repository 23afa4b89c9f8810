"""heareval's predictions runner, unmodified, in its own process: `python runner.py VERSION ...`.

Run by its path, as heareval may live in an environment that has none of our packages. Before a
test, heareval names the epoch whose postprocessing it wants by setting the fit loop's
`current_epoch`. PyTorch Lightning 1.6, the oldest that heareval takes, dropped that attribute: the
trainer goes on counting in `epoch_progress`, and the test of every event task ends in a KeyError
(hear-eval-kit issue 432). A callback of every trainer of this process carries the value over.
Callbacks that installed packages register for all trainers are left out: they are no part of
heareval.
"""

import sys
from importlib import metadata


def main(version: str, arguments: list[str]) -> None:
    """Run heareval's predictions runner with its arguments, if its version is the one wanted."""
    try:
        installed = metadata.version("heareval")
    except metadata.PackageNotFoundError:
        installed = "not installed"
    if installed != version:
        sys.exit(f"heareval is {installed}, wanted is {version}: run `make env-hear`")
    from heareval.predictions.runner import runner
    from pytorch_lightning import Callback, LightningModule, Trainer
    from pytorch_lightning.trainer.connectors import callback_connector

    class EpochOfHeareval(Callback):
        """Takes the epoch that was set on the fit loop; does nothing where none was."""

        def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
            """Move the trainer's count to the epoch that was asked for."""
            asked = vars(trainer.fit_loop).get("current_epoch")
            if asked is not None:
                trainer.fit_loop.epoch_progress.current.completed = asked

    callback_connector._configure_external_callbacks = lambda: [EpochOfHeareval()]
    runner(arguments)


if __name__ == "__main__":
    del sys.path[0]  # this folder, whose modules are not for heareval
    main(sys.argv[1], sys.argv[2:])
