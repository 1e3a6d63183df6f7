"""Where things lie that tests read."""

import os
from pathlib import Path

TESTS = Path(__file__).parent
ROOT = TESTS.parent
FIXTURES = TESTS / "fixtures"
MODELS = ROOT / "models"
DOCS = ROOT / "docs"
SHARED = Path(os.environ.get("ONNX2SNN_SHARED", ROOT.parent / "shared"))
