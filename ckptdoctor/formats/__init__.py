"""What users call their files: each module finds model variables and optimizer state in a container."""
