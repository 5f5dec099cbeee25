"""What `verify` says, in every form."""
