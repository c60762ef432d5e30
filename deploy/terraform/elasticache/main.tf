# A cache on ElastiCache: a primary and replicas in several zones, TLS, a user for the services, alarms.
# What a managed service decides by itself, such as persistence, is in docs/operating/managed-services.md.

terraform {
  required_version = ">= 1.5"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.80"
    }
  }
}

locals {
  # All that Corral needs, in its namespaces; what administers or empties a server is left out.
  scopes = join(" ", [for name in var.namespaces : "~${name}:* &${name}:*"])
  # CloudWatch has a series for each node, and none for the whole.
  node_count = var.shards * (var.replicas + 1)
  nodes      = sort(tolist(aws_elasticache_replication_group.cache.member_clusters))
  rights     = "on resetchannels ${local.scopes} &__redis__:invalidate +@all -@admin -@dangerous -function +info"
}

resource "aws_elasticache_subnet_group" "cache" {
  name       = var.name
  subnet_ids = var.subnet_ids
}

resource "aws_security_group" "cache" {
  name        = "${var.name}-cache"
  description = "Who may reach the cache"
  vpc_id      = var.vpc_id
}

resource "aws_vpc_security_group_ingress_rule" "services" {
  for_each                     = toset(var.client_security_group_ids)
  security_group_id            = aws_security_group.cache.id
  referenced_security_group_id = each.value
  from_port                    = 6379
  to_port                      = 6379
  ip_protocol                  = "tcp"
}

resource "aws_elasticache_parameter_group" "cache" {
  name   = var.name
  family = "valkey8"

  # Least often used first, and only what expires: streams of writes that are not in the database yet never are evicted.
  parameter {
    name  = "maxmemory-policy"
    value = "volatile-lfu"
  }

  # Room for the copy that a fork makes, for buffers, and for tracked keys.
  parameter {
    name  = "reserved-memory-percent"
    value = "25"
  }

  # Each process has a subscriber that hears of changed entries.
  parameter {
    name  = "client-output-buffer-limit-pubsub-hard-limit"
    value = "67108864"
  }
  parameter {
    name  = "client-output-buffer-limit-pubsub-soft-limit"
    value = "16777216"
  }

  parameter {
    name  = "slowlog-log-slower-than"
    value = "10000"
  }
}

resource "aws_elasticache_user" "cache" {
  user_id       = "${var.name}-cache"
  user_name     = "cache"
  engine        = "valkey"
  access_string = local.rights

  authentication_mode {
    type      = "password"
    passwords = var.passwords
  }
}

resource "aws_elasticache_user_group" "cache" {
  user_group_id = var.name
  engine        = "valkey"
  user_ids      = [aws_elasticache_user.cache.user_id]
}

resource "aws_elasticache_replication_group" "cache" {
  replication_group_id = var.name
  description          = "Cache of ${join(", ", var.namespaces)}"
  engine               = "valkey"
  engine_version       = "8.0"
  node_type            = var.node_type
  port                 = 6379
  parameter_group_name = aws_elasticache_parameter_group.cache.name
  subnet_group_name    = aws_elasticache_subnet_group.cache.name
  security_group_ids   = [aws_security_group.cache.id]
  user_group_ids       = [aws_elasticache_user_group.cache.user_group_id]

  # One shard is a primary with replicas; more of them make it a Cluster.
  num_node_groups            = var.shards
  replicas_per_node_group    = var.replicas
  automatic_failover_enabled = var.replicas > 0
  multi_az_enabled           = var.replicas > 0

  transit_encryption_enabled = true
  transit_encryption_mode    = "required"
  at_rest_encryption_enabled = true

  # Warm again after a loss of all nodes: from last night, which is better than from nothing.
  snapshot_retention_limit = 3
  snapshot_window          = "03:00-04:00"
  maintenance_window       = "sun:04:30-sun:05:30"
  apply_immediately        = false

  lifecycle {
    # The service scales and patches by itself.
    ignore_changes = [engine_version]
  }
}

resource "aws_cloudwatch_metric_alarm" "memory" {
  count               = local.node_count
  alarm_name          = "${var.name}-memory-${count.index + 1}"
  alarm_description   = "A node of the cache is nearly full and evicts: docs/operating/eviction.md"
  namespace           = "AWS/ElastiCache"
  metric_name         = "DatabaseMemoryUsagePercentage"
  dimensions          = { CacheClusterId = local.nodes[count.index] }
  statistic           = "Maximum"
  period              = 300
  evaluation_periods  = 3
  threshold           = 95
  comparison_operator = "GreaterThanThreshold"
  alarm_actions       = var.alarm_topic_arns
}

resource "aws_cloudwatch_metric_alarm" "cpu" {
  count               = local.node_count
  alarm_name          = "${var.name}-cpu-${count.index + 1}"
  alarm_description   = "One core serves all commands of a node, and it is busy: docs/operating/sizing.md"
  namespace           = "AWS/ElastiCache"
  metric_name         = "EngineCPUUtilization"
  dimensions          = { CacheClusterId = local.nodes[count.index] }
  statistic           = "Average"
  period              = 300
  evaluation_periods  = 3
  threshold           = 80
  comparison_operator = "GreaterThanThreshold"
  alarm_actions       = var.alarm_topic_arns
}
