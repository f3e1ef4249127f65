"""Export of a trained model from a record as integers: an ONNX file, or a state of integer codes."""
