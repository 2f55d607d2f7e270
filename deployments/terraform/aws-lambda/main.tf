data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  account = data.aws_caller_identity.current.account_id
  secret  = "arn:${data.aws_partition.current.partition}:secretsmanager:${data.aws_region.current.id}:${local.account}:secret"
  has_vpc = length(var.subnet_ids) > 0
}

resource "aws_cloudwatch_log_group" "rotator" {
  name              = "/aws/lambda/${var.name}"
  retention_in_days = var.log_retention_days
}

resource "aws_lambda_function" "rotator" {
  function_name    = var.name
  description      = "Rotates secrets of AWS Secrets Manager"
  role             = aws_iam_role.rotator.arn
  filename         = var.zip
  source_code_hash = filebase64sha256(var.zip)
  runtime          = "provided.al2023"
  handler          = "bootstrap"
  architectures    = [var.architecture]
  memory_size      = var.memory
  timeout          = var.timeout

  reserved_concurrent_executions = var.reserved_concurrency

  environment {
    variables = {
      ROTATOR_NATS_URL           = var.nats_url
      ROTATOR_EVENTBRIDGE_BUS    = var.event_bus
      ROTATOR_LAMBDA_CREDENTIALS = var.credentials
      ROTATOR_SIGNING_KEY_ENV    = var.credentials == "" ? "" : "SIGNING_KEY"
    }
  }

  dead_letter_config {
    target_arn = aws_sqs_queue.dead_letters.arn
  }

  logging_config {
    log_format = "Text"
    log_group  = aws_cloudwatch_log_group.rotator.name
  }

  dynamic "vpc_config" {
    for_each = local.has_vpc ? [1] : []

    content {
      subnet_ids         = var.subnet_ids
      security_group_ids = var.security_group_ids
    }
  }

  depends_on = [aws_iam_role_policy.rotator]
}

resource "aws_lambda_permission" "secrets_manager" {
  statement_id   = "SecretsManagerMayInvoke"
  action         = "lambda:InvokeFunction"
  function_name  = aws_lambda_function.rotator.function_name
  principal      = "secretsmanager.amazonaws.com"
  source_account = local.account
}

resource "aws_sqs_queue" "dead_letters" {
  name                      = "${var.name}-dead-letters"
  message_retention_seconds = 1209600
  sqs_managed_sse_enabled   = true
}
