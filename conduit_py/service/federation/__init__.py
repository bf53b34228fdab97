"""Between servers: whose keys are whose, and who sent a request."""
