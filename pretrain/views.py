"""The two views of each step's clips: crops of a store, or of a stream, and their augmentation."""

import dataclasses
import logging
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from pretrain.augment.layer import AugmentationLayer
from pretrain.config import Config
from pretrain.data.crops import draw_crops
from pretrain.data.order import CROPS, EFFECTS, ClipOrder, step_seed
from pretrain.data.store import Store
from pretrain.data.stream import ShardStream
from pretrain.distributed import rank, share

log = logging.getLogger(__name__)


class ViewSampler:
    """Draws the two views of a step: crops of the store through the Augmentation Layer.

    Args:
        data: a store, in a GPU's memory where it fits in half of what is free there; or shards that
            are read while training.
        config: of the run.
        device: where the views are made.

    Attributes:
        store: the clips that crops are drawn from; of a stream those that are held now.

    Raises:
        ValueError: fewer clips, or fewer of a kind, than a batch needs, or a batch that the
            processes cannot share.
    """

    def __init__(self, data: Store | ShardStream, config: Config, device: torch.device) -> None:
        self.data, self.config, self.device = data, config, device
        self.generator = torch.Generator()
        self.device_generator = torch.Generator(device)
        self.layer = AugmentationLayer(config.views.augment).to(device)
        self.clips_at = data.at if isinstance(data, ShardStream) else _in_order(data, config)
        self.store: Store | None = None

    def clips(self, step: int) -> Tensor:
        """Return the numbers, in `store`, of this process's clips of a step, [B] int64."""
        store, clips = self.clips_at(step)
        if store is not self.store:
            self.store, self.samples = store, _on_device_if_room(store, self.device)
        return clips

    def crops(self, step: int) -> tuple[Tensor, Tensor]:
        """Return two crops of each of this process's clips of a step, [B, 1, T] each."""
        clips = self.clips(step)
        self.generator.manual_seed(step_seed(self.config.seed, step, rank(), CROPS))
        crop_a, crop_b = draw_crops(
            self.samples,
            clips,
            crop_samples=self.config.encoder.crop_samples,
            two_crops=self.config.views.two_crops,
            speed=self.config.views.speed,
            generator=self.generator,
        )
        return crop_a.to(self.device), crop_b.to(self.device)

    def augment(self, step: int, crop_a: Tensor, crop_b: Tensor) -> tuple[Tensor, Tensor]:
        """Return the crops through the Augmentation Layer, [B, 1, T] each.

        The seed is not that of the crops: with one, their positions would go with the parameters
        of effects.
        """
        self.device_generator.manual_seed(step_seed(self.config.seed, step, rank(), EFFECTS))
        view_a = self.layer(crop_a, self.device_generator)
        return view_a, self.layer(crop_b, self.device_generator)


def open_stream(sources: Sequence[str], config: Config) -> ShardStream:
    """Return the shards that a run reads while training; arguments and errors as of ShardStream."""
    return ShardStream(
        sources,
        config.stream,
        batch=config.optim.batch,
        seed=config.seed,
        shares=dataclasses.asdict(config.views.sample),
    )


def _in_order(store: Store, config: Config) -> Callable[[int], tuple[Store, Tensor]]:
    """Return what gives a store and this process's clips of each step, as `ShardStream.at` does."""
    order = ClipOrder(
        store.kinds,
        dataclasses.asdict(config.views.sample),
        config.optim.batch,
        config.seed,
        file_of=store.file_of,
        file_groups=config.views.file_groups,
    )
    mine = share(config.optim.batch)
    return lambda step: (store, order.batch(step)[mine])


def _on_device_if_room(store: Store, device: torch.device) -> Store:
    """Return the store, its samples on the device where that is a GPU with room for twice that."""
    if device.type != "cuda":
        return store
    free, _ = torch.cuda.mem_get_info(device)
    size = sum(samples.nbytes for samples in store.files)
    if 2 * size > free:
        log.warning("the store (%.1f GB) stays in main memory", size / 1e9)
        return store
    return dataclasses.replace(store, files=tuple(each.to(device) for each in store.files))
