"""Generated message classes of the protocol buffers in checkpoint files."""
