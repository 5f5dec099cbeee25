"""The Python that restores an artifact by its own framework, as a script that proves what it restored."""
