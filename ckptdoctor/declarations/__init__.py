"""What users declare: policy files, and what they and installed packages say of classes that are nobody's here."""
