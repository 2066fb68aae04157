// Pushes with pino-loki and winston-loki.
import pino from "pino";
import winston from "winston";
import LokiTransport from "winston-loki";

const [url, run] = process.argv.slice(2);

const transport = pino.transport({
  target: "pino-loki",
  options: { host: url, batching: { interval: 1 }, labels: { client: "pino-loki", run } },
});
const log = pino(transport);
for (let i = 0; i < 20; i++) log.info(`line ${i} of pino-loki`);

const loki = new LokiTransport({ host: url, labels: { client: "winston-loki", run }, json: true, batching: true, interval: 1 });
const logger = winston.createLogger({ transports: [loki] });
for (let i = 0; i < 20; i++) logger.info(`line ${i} of winston-loki`);

// winston-loki's loop of batches keeps the process alive until the transport is closed, which sends the last batch.
await new Promise((done) => setTimeout(done, 4000));
await loki.close();
transport.end();
