# HTTPS without a domain: API Gateway, a VPC link, and Cloud Map, which names the ingress tasks with their port (SRV records).
# Bodies pass unchanged, as the signature is over their bytes: payload format 1.0, HTTP_PROXY, no mapping.
# A VPC link without traffic for 60 days becomes inactive; the first deliveries after that fail for some minutes, and the reaper
# recovers them from GitHub's delivery log.

locals {
  uses_api_gateway = var.entry == "api_gateway"
  uses_alb         = var.entry == "alb"
  webhook_port     = 8080
  webhook_path     = "/webhook"
  webhook_url      = local.uses_api_gateway ? "${aws_apigatewayv2_api.webhook[0].api_endpoint}${local.webhook_path}" : local.uses_alb ? "https://${var.alb.domain_name}${local.webhook_path}" : null
}

resource "aws_service_discovery_private_dns_namespace" "this" {
  count = local.uses_api_gateway ? 1 : 0

  name        = "${var.name_prefix}.internal"
  description = "Tasks of Mayfly ${var.name_prefix}"
  vpc         = local.vpc_id
  tags        = var.tags
}

resource "aws_service_discovery_service" "ingress" {
  count = local.uses_api_gateway ? 1 : 0

  name          = "ingress"
  description   = "mayfly-ingress"
  namespace_id  = aws_service_discovery_private_dns_namespace.this[0].id
  force_destroy = true # ECS may be late to deregister a task that ended
  tags          = var.tags

  dns_config {
    namespace_id   = aws_service_discovery_private_dns_namespace.this[0].id
    routing_policy = "MULTIVALUE"

    dns_records {
      type = "SRV"
      ttl  = 10
    }
  }
  # ECS reports the tasks' health.
  health_check_custom_config {
    failure_threshold = 1
  }
}

resource "aws_apigatewayv2_vpc_link" "this" {
  count = local.uses_api_gateway ? 1 : 0

  name               = var.name_prefix
  subnet_ids         = local.subnet_ids
  security_group_ids = aws_security_group.entry[*].id
  tags               = var.tags
}

resource "aws_apigatewayv2_api" "webhook" {
  count = local.uses_api_gateway ? 1 : 0

  name          = var.name_prefix
  description   = "GitHub's deliveries for Mayfly ${var.name_prefix}"
  protocol_type = "HTTP"
  tags          = var.tags
}

resource "aws_apigatewayv2_integration" "webhook" {
  count = local.uses_api_gateway ? 1 : 0

  api_id                 = aws_apigatewayv2_api.webhook[0].id
  integration_type       = "HTTP_PROXY"
  integration_method     = "POST"
  integration_uri        = aws_service_discovery_service.ingress[0].arn
  connection_type        = "VPC_LINK"
  connection_id          = aws_apigatewayv2_vpc_link.this[0].id
  payload_format_version = "1.0"
  timeout_milliseconds   = 10000 # GitHub waits no longer
}

resource "aws_apigatewayv2_route" "webhook" {
  #checkov:skip=CKV_AWS_309:GitHub cannot authenticate to API Gateway; the ingress verifies the signature of each delivery before it parses anything
  count = local.uses_api_gateway ? 1 : 0

  api_id    = aws_apigatewayv2_api.webhook[0].id
  route_key = "POST ${local.webhook_path}"
  target    = "integrations/${aws_apigatewayv2_integration.webhook[0].id}"
}

# Above the rate GitHub gets a 429; the reaper recovers such deliveries from the delivery log.
resource "aws_apigatewayv2_stage" "webhook" {
  count = local.uses_api_gateway ? 1 : 0

  api_id      = aws_apigatewayv2_api.webhook[0].id
  name        = "$default"
  auto_deploy = true
  tags        = var.tags

  default_route_settings {
    throttling_burst_limit   = 2000
    throttling_rate_limit    = 1000
    detailed_metrics_enabled = true
  }
  access_log_settings {
    destination_arn = aws_cloudwatch_log_group.entry[0].arn
    format = jsonencode({
      ts             = "$context.requestTime"
      request        = "$context.requestId"
      peer           = "$context.identity.sourceIp"
      method         = "$context.httpMethod"
      path           = "$context.path"
      status         = "$context.status"
      ingress_status = "$context.integrationStatus"
      duration_ms    = "$context.responseLatency"
      error          = "$context.integrationErrorMessage"
    })
  }
}
