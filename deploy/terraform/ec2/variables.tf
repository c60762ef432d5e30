variable "name" {
  type    = string
  default = "corral"
}

variable "namespaces" {
  description = "The namespaces that services cache in."
  type        = list(string)
  default     = ["shop"]
}

variable "subnet_id" {
  description = "A private subnet with a way to Debian's packages and to the parameter store."
  type        = string
}

variable "client_security_group_ids" {
  type = list(string)
}

variable "instance_type" {
  type    = string
  default = "m7g.large"
}

variable "maxmemory_mb" {
  description = "Three quarters of the machine's memory: docs/operating/sizing.md."
  type        = number
  default     = 6144
}

variable "parameter_path" {
  description = "Where the parameter store has cache-password, operator-password, metrics-password and tls/redis.crt, tls/redis.key, tls/ca.crt."
  type        = string
  default     = "/corral/redis"
}
