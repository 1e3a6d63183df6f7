"""The engine "fast": layers in blocks of steps by ONNX Runtime's products, or driven by spikes."""
