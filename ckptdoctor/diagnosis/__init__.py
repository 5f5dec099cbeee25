"""What a training state means for the next step: pure functions of what was read. Nothing here opens a file."""
