"""Weights to start from, from elsewhere: a file of any program, or what timm and torchvision publish."""
