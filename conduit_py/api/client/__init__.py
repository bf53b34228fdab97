"""The client-server API: one module for each OpenAPI file of the spec, one handler for each operation."""
