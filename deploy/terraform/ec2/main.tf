# One host of your own with the shipped redis.conf: TLS, users, and a disk that outlives the machine.

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
  # Every line that sizes something is in redis.conf; only the memory is the machine's.
  redis_conf = replace(file("${path.module}/../../redis/redis.conf"), "maxmemory 768mb", "maxmemory ${var.maxmemory_mb}mb")
  user_data = templatefile("${path.module}/install.sh.tftpl", {
    redis_conf      = local.redis_conf
    tls_conf        = file("${path.module}/../../redis/tls.conf")
    standalone_conf = file("${path.module}/../../redis/standalone.conf")
    make_users      = file("${path.module}/../../redis/make-users.sh")
    parameters      = var.parameter_path
    namespaces      = join(" ", var.namespaces)
    region          = data.aws_region.here.name
    volume          = replace(aws_ebs_volume.data.id, "-", "")
  })
}

data "aws_region" "here" {}

data "aws_caller_identity" "me" {}

data "aws_subnet" "host" {
  id = var.subnet_id
}

data "aws_ami" "debian" {
  most_recent = true
  owners      = ["136693071363"]

  filter {
    name   = "name"
    values = ["debian-12-arm64-*"]
  }
}

resource "aws_security_group" "redis" {
  name        = "${var.name}-redis"
  description = "Who may reach Redis"
  vpc_id      = data.aws_subnet.host.vpc_id
}

resource "aws_vpc_security_group_ingress_rule" "services" {
  for_each                     = toset(var.client_security_group_ids)
  security_group_id            = aws_security_group.redis.id
  referenced_security_group_id = each.value
  from_port                    = 6379
  to_port                      = 6379
  ip_protocol                  = "tcp"
}

resource "aws_vpc_security_group_egress_rule" "packages" {
  security_group_id = aws_security_group.redis.id
  cidr_ipv4         = "0.0.0.0/0"
  from_port         = 443
  to_port           = 443
  ip_protocol       = "tcp"
}

# The append-only file and the snapshots. It is kept when the host is replaced.
resource "aws_ebs_volume" "data" {
  availability_zone = data.aws_subnet.host.availability_zone
  size              = ceil(var.maxmemory_mb * 4 / 1024)
  type              = "gp3"
  encrypted         = true
  tags              = { Name = "${var.name}-redis-data" }
}

resource "aws_volume_attachment" "data" {
  device_name = "/dev/sdf"
  volume_id   = aws_ebs_volume.data.id
  instance_id = aws_instance.redis.id
  # Redis ends in order and its file is whole, before the next host takes the disk.
  stop_instance_before_detaching = true
}

# Its address, which a host that takes its place keeps: REDIS_URL and the certificate name it.
resource "aws_network_interface" "redis" {
  subnet_id       = var.subnet_id
  security_groups = [aws_security_group.redis.id]
  tags            = { Name = "${var.name}-redis" }
}

resource "aws_iam_role" "redis" {
  name = "${var.name}-redis"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "ec2.amazonaws.com" }
    }]
  })
}

# Passwords and certificates are read at start, and stand neither here nor in the user data.
resource "aws_iam_role_policy" "parameters" {
  role = aws_iam_role.redis.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect   = "Allow"
      Action   = ["ssm:GetParameter"]
      Resource = "arn:aws:ssm:${data.aws_region.here.name}:${data.aws_caller_identity.me.account_id}:parameter${var.parameter_path}/*"
    }]
  })
}

resource "aws_iam_instance_profile" "redis" {
  name = "${var.name}-redis"
  role = aws_iam_role.redis.name
}

resource "aws_instance" "redis" {
  ami                  = data.aws_ami.debian.id
  instance_type        = var.instance_type
  iam_instance_profile = aws_iam_instance_profile.redis.name
  user_data_base64     = base64gzip(local.user_data)
  # It runs at a host's first start only. So another redis.conf or maxmemory is another host, which finds disk and address again.
  user_data_replace_on_change = true

  network_interface {
    device_index         = 0
    network_interface_id = aws_network_interface.redis.id
  }

  metadata_options {
    http_tokens = "required"
  }

  root_block_device {
    encrypted = true
  }

  tags = { Name = "${var.name}-redis" }

  lifecycle {
    # A newer image is no reason to replace a warm cache.
    ignore_changes = [ami]
  }
}
