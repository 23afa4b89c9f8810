"""Sphinx configuration: Markdown pages, the reference from docstrings, doctests."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from wavebyol_hear import __version__

project = "WaveBYOL-HEAR"
author = "WaveBYOL-HEAR contributors"
release = version = __version__
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.doctest",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_custom_sections = [("Shape", "notes_style"), ("Source", "notes_style")]
autodoc_typehints = "description"
autodoc_member_order = "bysource"
nitpicky = False
html_theme = "furo"
html_title = "WaveBYOL-HEAR"
html_static_path: list[str] = []
exclude_patterns = ["_build"]
# Names that a docstring's own module defines.
doctest_global_setup = """
from pathlib import Path
import numpy as np
import torch
from wavebyol_hear import get_scene_embeddings, get_timestamp_embeddings, load_model
from wavebyol_hear.audio import *
from wavebyol_hear.export.network import SceneNetwork
from wavebyol_hear.files.search import nearest
from wavebyol_hear.integrations.hub import save_pretrained
from wavebyol_hear.integrations.mteb import MtebEncoder
from wavebyol_hear.integrations.xares import WaveByolEncoder
from wavebyol_hear.sklearn import Embedding
"""
