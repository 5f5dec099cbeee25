"""What `check` says, in every form."""
