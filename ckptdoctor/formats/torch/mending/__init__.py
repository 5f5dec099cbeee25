"""What can be mended in PyTorch's files: values are exchanged, everything else stays as it is."""
