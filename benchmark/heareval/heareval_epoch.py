"""What makes heareval 2021.1.3 score event tasks, though nothing of heareval is changed.

Before a test, heareval names the epoch whose postprocessing it wants by setting the fit loop's
`current_epoch`. PyTorch Lightning 1.6, the oldest that heareval takes, dropped that attribute: the
trainer goes on counting in `epoch_progress`, and the test of every event task ends in a KeyError
(hear-eval-kit issue 432). Lightning asks installed packages for callbacks, by the entry point in
setup.cfg; ours carries the value over.
"""

from pytorch_lightning import Callback, LightningModule, Trainer


class EpochOfHeareval(Callback):
    """Takes the epoch that was set on the fit loop; does nothing where none was."""

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Move the trainer's count to the epoch that was asked for."""
        asked = vars(trainer.fit_loop).get("current_epoch")
        if asked is not None:
            trainer.fit_loop.epoch_progress.current.completed = asked


def callbacks() -> list[Callback]:
    """Return what every trainer in this environment gets."""
    return [EpochOfHeareval()]
