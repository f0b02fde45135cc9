"""The demo model that comes in the package."""

from __future__ import annotations

from pathlib import Path

import pyllama_rt

DEMO_MODEL = Path(pyllama_rt.__file__).parent / "data" / "demo.gguf"
"""8.4 million parameters, trained by this project; see tools/demo_model."""
