"""Pushes with python-logging-loki and the OpenTelemetry SDK's OTLP exporter."""
import logging
import sys

import logging_loki
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import Resource

url, run = sys.argv[1:3]

handler = logging_loki.LokiHandler(url=f"{url}/loki/api/v1/push", tags={"client": "python-logging-loki", "run": run}, version="1")
logger = logging.getLogger("python-logging-loki")
logger.setLevel(logging.INFO)
logger.addHandler(handler)
for i in range(20):
    logger.info("line %d of python-logging-loki", i)

provider = LoggerProvider(resource=Resource.create({"service.name": "otel-sdk", "k8s.pod.name": "pod-1", "run.id": run}))
provider.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter(endpoint=f"{url}/otlp/v1/logs")))
otel = logging.getLogger("otel")
otel.setLevel(logging.INFO)
otel.addHandler(LoggingHandler(logger_provider=provider))
for i in range(20):
    otel.warning("line %d of otel-sdk", i, extra={"order": i})
provider.shutdown()
