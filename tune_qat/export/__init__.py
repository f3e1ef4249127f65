"""Writes a trained model of a record as integers: an ONNX file, or a state of integer codes."""
