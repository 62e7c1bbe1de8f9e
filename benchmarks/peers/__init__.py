"""graphcore beside Keras on JAX and TensorFlow, PyTorch, and ONNX Runtime."""
