output "redis_url" {
  description = "For REDIS_URL, with the user's password put in. Of a Cluster it is one of the nodes: pass a Cluster of ioredis."
  value       = "rediss://cache:PASSWORD@${coalesce(aws_elasticache_replication_group.cache.primary_endpoint_address, aws_elasticache_replication_group.cache.configuration_endpoint_address)}:6379"
}

output "security_group_id" {
  value = aws_security_group.cache.id
}
