variable "name" {
  description = "Of the replication group and of everything around it."
  type        = string
  default     = "corral"
}

variable "namespaces" {
  description = "The namespaces that services cache in."
  type        = list(string)
  default     = ["shop"]
}

variable "vpc_id" {
  type = string
}

variable "subnet_ids" {
  description = "Private subnets, in as many zones as there are nodes in a shard."
  type        = list(string)
}

variable "client_security_group_ids" {
  description = "The groups of the services that may connect."
  type        = list(string)
}

variable "node_type" {
  description = "Three quarters of its memory are the cache's: docs/operating/sizing.md."
  type        = string
  default     = "cache.m7g.large"
}

variable "shards" {
  description = "1, or more for a Cluster."
  type        = number
  default     = 1
}

variable "replicas" {
  description = "Of each primary. With none there is no failover."
  type        = number
  default     = 2

  validation {
    condition     = var.replicas >= 0 && var.replicas <= 5
    error_message = "Between 0 and 5."
  }
}

variable "passwords" {
  description = "Of the user \"cache\": one, or two while it is being changed. At least 16 characters each."
  type        = list(string)
  sensitive   = true
}

variable "alarm_topic_arns" {
  type    = list(string)
  default = []
}
