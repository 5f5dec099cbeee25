"""What is mended in an artifact, and what is left out of one: written beside, read back, and put in place whole."""
