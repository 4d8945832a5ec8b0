"""The apps that the service is compared with. Each runs under the service's own server settings."""
