"""Operations that other servers call; one module per OpenAPI file of the server-server API."""
