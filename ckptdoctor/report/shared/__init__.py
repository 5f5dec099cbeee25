"""What reports share: the console, names that are safe to show, wording."""
