"""An exported file as a HEAR module: `wavebyol_hear.export.runtime:model.onnx`, or `:model.pt2`.

So `python -m benchmark.run --models` measures what is deployed, an eight-bit file for one. Scenes
alone are exported: timestamps are refused.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from wavebyol_hear.chunking import check_audio
from wavebyol_hear.export.check import ExportError
from wavebyol_hear.export.to_onnx import onnx_runner
from wavebyol_hear.export.to_program import program_runner


class ExportedModel(nn.Module):
    """What runs an exported file; on the CPU, without gradients.

    Args:
        path: of a file that `wavebyol export` wrote, `.onnx` or `.pt2`.

    Shape:
        [B, n] -> [B, scene_embedding_size].
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        path = Path(path)
        try:
            if path.suffix == ".pt2":
                self._run, texts = program_runner(path)
            else:
                self._run, texts = onnx_runner(str(path))
            self.sample_rate = int(texts["sample_rate"])
        except ImportError:
            raise
        except Exception as error:  # what a foreign file does to a runtime is beyond listing
            reason = " ".join(str(error).split())[:200]
            raise ExportError(f"{path} is not a file of `wavebyol export` ({reason})") from error
        audio = torch.zeros(1, self.sample_rate)
        self.scene_embedding_size = self.timestamp_embedding_size = self(audio).shape[1]

    def forward(self, audio: Tensor) -> Tensor:
        """Return scene embeddings; see the class."""
        check_audio(audio)
        return torch.from_numpy(self._run(audio.detach().float().cpu().numpy()))


def load_model(model_file_path: str = "") -> ExportedModel:
    """Return the model of an exported file.

    Raises:
        ExportError: no file is named, or it is none of `wavebyol export`.
    """
    if not model_file_path:
        raise ExportError("no exported file: write wavebyol_hear.export.runtime:model.onnx")
    return ExportedModel(model_file_path)


def get_scene_embeddings(audio: Tensor, model: ExportedModel) -> Tensor:
    """Return scene embeddings: [B, n] -> float32 [B, model.scene_embedding_size]."""
    return model(audio).to(audio.device)


def get_timestamp_embeddings(audio: Tensor, model: ExportedModel) -> tuple[Tensor, Tensor]:
    """Raise: an exported file has no timestamps."""
    raise ExportError("an exported file has scene embeddings alone: use wavebyol_hear itself")
