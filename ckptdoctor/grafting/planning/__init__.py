"""What goes where: matching, translating, what has no place."""
