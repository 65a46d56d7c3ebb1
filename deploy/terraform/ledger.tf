# The ledger: a table, or ElastiCache for Valkey. What it loses is rebuilt from GitHub and Lambda (deploy/docs/operations.md).

resource "aws_dynamodb_table" "ledger" {
  count = var.ledger == "dynamodb" ? 1 : 0

  name                        = var.name_prefix
  billing_mode                = "PAY_PER_REQUEST"
  hash_key                    = "pk"
  range_key                   = "sk"
  deletion_protection_enabled = var.deletion_protection
  tags                        = var.tags

  dynamic "attribute" {
    for_each = ["pk", "sk", "ix", "age"]
    content {
      name = attribute.value
      type = "S"
    }
  }
  global_secondary_index {
    name            = "by_age"
    hash_key        = "ix"
    range_key       = "age"
    projection_type = "KEYS_ONLY"
  }
  ttl {
    attribute_name = "expires"
    enabled        = true
  }
  point_in_time_recovery {
    enabled = true
  }
  server_side_encryption {
    enabled     = true
    kms_key_arn = var.kms_key_arn
  }
}

resource "aws_security_group" "redis" {
  count = var.ledger == "redis" ? 1 : 0

  name        = "${var.name_prefix}-redis"
  description = "The ledger of Mayfly ${var.name_prefix}"
  vpc_id      = local.vpc_id
  tags        = merge(var.tags, { Name = "${var.name_prefix}-redis" })
}

# Worker and reaper; the ingress has no business with the ledger.
resource "aws_vpc_security_group_ingress_rule" "redis" {
  for_each = toset(var.ledger == "redis" ? ["worker", "reaper"] : [])

  security_group_id            = aws_security_group.redis[0].id
  referenced_security_group_id = aws_security_group.task[each.key].id
  description                  = each.key
  ip_protocol                  = "tcp"
  from_port                    = 6379
  to_port                      = 6379
  tags                         = var.tags
}

resource "aws_elasticache_subnet_group" "redis" {
  count = var.ledger == "redis" ? 1 : 0

  name       = "${var.name_prefix}-redis"
  subnet_ids = local.subnet_ids
  tags       = var.tags
}

resource "aws_elasticache_parameter_group" "redis" {
  count = var.ledger == "redis" ? 1 : 0

  name        = "${var.name_prefix}-redis"
  family      = "valkey8"
  description = "Mayfly ${var.name_prefix}: keys are jobs, none may be evicted"
  tags        = var.tags

  parameter {
    name  = "maxmemory-policy"
    value = "noeviction"
  }
}

resource "aws_elasticache_replication_group" "redis" {
  count = var.ledger == "redis" ? 1 : 0

  replication_group_id       = var.name_prefix
  description                = "Ledger of Mayfly ${var.name_prefix}"
  engine                     = "valkey"
  engine_version             = "8.0"
  node_type                  = var.redis_node_type
  num_cache_clusters         = 2
  automatic_failover_enabled = true
  multi_az_enabled           = true
  port                       = 6379
  parameter_group_name       = aws_elasticache_parameter_group.redis[0].name
  subnet_group_name          = aws_elasticache_subnet_group.redis[0].name
  security_group_ids         = [aws_security_group.redis[0].id]
  at_rest_encryption_enabled = true
  kms_key_id                 = var.kms_key_arn
  transit_encryption_enabled = true
  auto_minor_version_upgrade = true
  snapshot_retention_limit   = 1
  apply_immediately          = true
  tags                       = var.tags
}
