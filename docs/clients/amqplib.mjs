// Publishes the URLs of standard input. Needs the package amqplib.
import amqplib from "amqplib";
import { randomUUID } from "node:crypto";
import { createInterface } from "node:readline";

const connection = await amqplib.connect(
  process.env.AMQP_URL ?? "amqp://guest:guest@127.0.0.1:5672/%2f");
const channel = await connection.createConfirmChannel();
channel.on("return", (message) => { throw new Error(`no queue takes ${message.content}`); });
const exchange = process.env.FETCHLINE_PREFIX ?? "fetchline";
const headers = { "x-run": process.env.RUN ?? "node" };
const options = { persistent: true, mandatory: true, headers };
for await (const line of createInterface({ input: process.stdin })) {
  const task = { ...options, messageId: randomUUID() };
  channel.publish(exchange, "urls", Buffer.from(line.trim()), task);
}
await channel.waitForConfirms();
await connection.close();
