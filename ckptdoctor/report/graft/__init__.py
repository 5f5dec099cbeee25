"""What `graft` says, in every form."""
