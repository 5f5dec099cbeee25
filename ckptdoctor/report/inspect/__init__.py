"""What `inspect` says, in every form."""
