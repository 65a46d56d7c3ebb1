# A VPC with two public subnets and no NAT gateway, unless `vpc_id` names one; and a security group for each program.

data "aws_availability_zones" "available" {
  count = var.vpc_id == null ? 1 : 0

  state = "available"
  filter {
    name   = "opt-in-status"
    values = ["opt-in-not-required"]
  }
}

locals {
  makes_vpc                = var.vpc_id == null
  vpc_id                   = local.makes_vpc ? aws_vpc.this[0].id : var.vpc_id
  subnet_ids               = local.makes_vpc ? aws_subnet.public[*].id : var.subnet_ids
  load_balancer_subnet_ids = length(var.load_balancer_subnet_ids) > 0 ? var.load_balancer_subnet_ids : local.subnet_ids
}

resource "aws_vpc" "this" {
  #checkov:skip=CKV2_AWS_11:flow logs are the account's choice, and cost more than this network; no address in it accepts a connection but the entry's
  count = local.makes_vpc ? 1 : 0

  cidr_block           = var.vpc_cidr
  enable_dns_support   = true
  enable_dns_hostnames = true
  tags                 = merge(var.tags, { Name = var.name_prefix })
}

# Nothing uses the VPC's own group: it allows nothing.
resource "aws_default_security_group" "this" {
  count = local.makes_vpc ? 1 : 0

  vpc_id = aws_vpc.this[0].id
  tags   = merge(var.tags, { Name = "${var.name_prefix}-unused" })
}

resource "aws_internet_gateway" "this" {
  count = local.makes_vpc ? 1 : 0

  vpc_id = aws_vpc.this[0].id
  tags   = merge(var.tags, { Name = var.name_prefix })
}

resource "aws_subnet" "public" {
  count = local.makes_vpc ? 2 : 0

  vpc_id            = aws_vpc.this[0].id
  cidr_block        = cidrsubnet(var.vpc_cidr, 1, count.index)
  availability_zone = data.aws_availability_zones.available[0].names[count.index]
  tags              = merge(var.tags, { Name = "${var.name_prefix}-public-${count.index + 1}" })
}

resource "aws_route_table" "public" {
  count = local.makes_vpc ? 1 : 0

  vpc_id = aws_vpc.this[0].id
  tags   = merge(var.tags, { Name = "${var.name_prefix}-public" })

  route {
    cidr_block = "0.0.0.0/0"
    gateway_id = aws_internet_gateway.this[0].id
  }
}

resource "aws_route_table_association" "public" {
  count = local.makes_vpc ? 2 : 0

  subnet_id      = aws_subnet.public[count.index].id
  route_table_id = aws_route_table.public[0].id
}

# Without charge, and the ledger's calls stay in AWS's network.
resource "aws_vpc_endpoint" "gateway" {
  for_each = toset(local.makes_vpc ? ["s3", "dynamodb"] : [])

  vpc_id            = aws_vpc.this[0].id
  service_name      = "com.amazonaws.${local.region}.${each.key}"
  vpc_endpoint_type = "Gateway"
  route_table_ids   = aws_route_table.public[*].id
  tags              = merge(var.tags, { Name = "${var.name_prefix}-${each.key}" })
}

resource "aws_security_group" "task" {
  #checkov:skip=CKV2_AWS_5:each is that of its service, in ecs.tf, which checkov does not follow through for_each
  for_each = local.programs

  name        = "${var.name_prefix}-${each.key}"
  description = "mayfly-${each.key} of ${var.name_prefix}"
  vpc_id      = local.vpc_id
  tags        = merge(var.tags, { Name = "${var.name_prefix}-${each.key}" })
}

# GitHub, GitHub Enterprise Server and AWS, on any port, since a proxy may be on the way.
resource "aws_vpc_security_group_egress_rule" "task" {
  for_each = local.programs

  security_group_id = aws_security_group.task[each.key].id
  description       = "GitHub and AWS"
  ip_protocol       = "-1"
  cidr_ipv4         = "0.0.0.0/0"
  tags              = var.tags
}

# What leads to the ingress: the VPC link, or the load balancer.
resource "aws_security_group" "entry" {
  count = local.has_entry ? 1 : 0

  name        = "${var.name_prefix}-entry"
  description = "What leads to mayfly-ingress of ${var.name_prefix}"
  vpc_id      = local.vpc_id
  tags        = merge(var.tags, { Name = "${var.name_prefix}-entry" })
}

resource "aws_vpc_security_group_egress_rule" "entry" {
  count = local.has_entry ? 1 : 0

  security_group_id            = aws_security_group.entry[0].id
  referenced_security_group_id = aws_security_group.task["ingress"].id
  description                  = "mayfly-ingress"
  ip_protocol                  = "tcp"
  from_port                    = local.webhook_port
  to_port                      = local.webhook_port
  tags                         = var.tags
}

resource "aws_vpc_security_group_ingress_rule" "ingress" {
  count = local.has_entry ? 1 : 0

  security_group_id            = aws_security_group.task["ingress"].id
  referenced_security_group_id = aws_security_group.entry[0].id
  description                  = "Deliveries"
  ip_protocol                  = "tcp"
  from_port                    = local.webhook_port
  to_port                      = local.webhook_port
  tags                         = var.tags
}
