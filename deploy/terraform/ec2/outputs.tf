output "redis_url" {
  description = "For REDIS_URL, with the user's password put in; the certificate must be valid for this name."
  value       = "rediss://cache:PASSWORD@${aws_network_interface.redis.private_dns_name}:6379"
}
