"""What a worker does with its job: prepares, checks, photographs, writes samples."""
