# A load balancer with a certificate of yours. It answers everything but POST /webhook itself.

resource "aws_vpc_security_group_ingress_rule" "entry" {
  for_each = toset(local.uses_alb ? var.alb.allowed_cidr_blocks : [])

  security_group_id = aws_security_group.entry[0].id
  description       = "Deliveries"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  cidr_ipv4         = each.key
  tags              = var.tags
}

resource "aws_lb" "this" {
  #checkov:skip=CKV2_AWS_28:one path is forwarded, and the ingress verifies a signature before it parses; WAF would inspect bodies that it may not change, at a price above that of the fleet's idle
  count = local.uses_alb ? 1 : 0

  name                       = var.name_prefix
  load_balancer_type         = "application"
  subnets                    = local.load_balancer_subnet_ids
  security_groups            = aws_security_group.entry[*].id
  drop_invalid_header_fields = true
  enable_deletion_protection = var.deletion_protection
  idle_timeout               = 60 # below ingress.idle_timeout
  tags                       = var.tags

  dynamic "access_logs" {
    for_each = var.alb.access_logs_bucket == null ? [] : [var.alb.access_logs_bucket]
    content {
      bucket  = access_logs.value
      prefix  = var.name_prefix
      enabled = true
    }
  }
}

resource "aws_lb_target_group" "ingress" {
  #checkov:skip=CKV_AWS_378:TLS ends at the load balancer; from there to the tasks only the two security groups lead
  count = local.uses_alb ? 1 : 0

  name                 = var.name_prefix
  vpc_id               = local.vpc_id
  target_type          = "ip"
  protocol             = "HTTP"
  port                 = local.webhook_port
  deregistration_delay = 30
  tags                 = var.tags

  # Red for an ingress that cannot go on, never for a store that is away.
  health_check {
    path                = "/healthz"
    matcher             = "200"
    interval            = 10
    timeout             = 5
    healthy_threshold   = 2
    unhealthy_threshold = 3
  }
}

resource "aws_lb_listener" "https" {
  count = local.uses_alb ? 1 : 0

  load_balancer_arn = aws_lb.this[0].arn
  protocol          = "HTTPS"
  port              = 443
  certificate_arn   = var.alb.certificate_arn
  ssl_policy        = "ELBSecurityPolicy-TLS13-1-2-2021-06"
  tags              = var.tags

  default_action {
    type = "fixed-response"
    fixed_response {
      content_type = "text/plain"
      status_code  = "404"
    }
  }
}

resource "aws_lb_listener_rule" "webhook" {
  count = local.uses_alb ? 1 : 0

  listener_arn = aws_lb_listener.https[0].arn
  priority     = 1
  tags         = var.tags

  action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.ingress[0].arn
  }
  condition {
    path_pattern {
      values = [local.webhook_path]
    }
  }
  condition {
    http_request_method {
      values = ["POST"]
    }
  }
}

resource "aws_route53_record" "webhook" {
  count = try(var.alb.zone_id, null) == null ? 0 : 1

  zone_id = var.alb.zone_id
  name    = var.alb.domain_name
  type    = "A"

  alias {
    name                   = aws_lb.this[0].dns_name
    zone_id                = aws_lb.this[0].zone_id
    evaluate_target_health = false
  }
}
