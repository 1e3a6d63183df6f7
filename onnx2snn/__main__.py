"""python -m onnx2snn"""

from .console import main

main()
