"""The same model and optimizer state in another format or layout."""
