"""OCDBT, tensorstore's key-value database: its manifest and its B+tree."""
