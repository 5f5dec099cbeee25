"""What `diff` says, in every form."""
