"""python -m onnx2snn"""

from .cli import main

main()
