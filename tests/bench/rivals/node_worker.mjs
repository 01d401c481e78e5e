// The same pipeline in idiomatic Node: amqplib, undici and mysql2.
//
// Consumes URLs with a bounded prefetch, fetches them with bounded concurrency over one agent,
// inserts the results in batches, and acks a message after the batch with its row is committed.
// Runs until it gets a signal.

import { parseArgs } from "node:util";

import amqp from "amqplib";
import mysql from "mysql2/promise";
import { Agent, request } from "undici";

const { values: args } = parseArgs({
  options: {
    queue: { type: "string" },
    concurrency: { type: "string", default: "100" },
    prefetch: { type: "string", default: "1100" },
    batch: { type: "string", default: "500" },
  },
});
const [concurrency, prefetch, size] = [args.concurrency, args.prefetch, args.batch].map(Number);

const TABLE =
  "CREATE TABLE IF NOT EXISTS bare (id BIGINT AUTO_INCREMENT PRIMARY KEY, url TEXT, " +
  "status SMALLINT UNSIGNED, body LONGTEXT, " +
  "fetched_at DATETIME(6) DEFAULT CURRENT_TIMESTAMP(6)) CHARACTER SET utf8mb4";

const pool = mysql.createPool({ uri: process.env.DATABASE_URL, connectionLimit: 4 });
await pool.query(TABLE);
const connection = await amqp.connect(process.env.AMQP_URL);
const channel = await connection.createChannel();
await channel.prefetch(prefetch);
const dispatcher = new Agent({
  connections: concurrency,
  headersTimeout: 30_000,
  bodyTimeout: 30_000,
});

const waiting = [];
let underWay = 0;
let results = [];
let timer;

async function fetchOne(message) {
  const url = message.content.toString();
  let status = null;
  let body;
  try {
    const response = await request(url, { dispatcher });
    status = response.statusCode;
    body = await response.body.text();
  } catch (error) {
    body = String(error);
  }
  results.push({ message, row: [url, status, body] });
  if (results.length >= size) write();
  else timer ??= setTimeout(write, 250);
}

async function write() {
  clearTimeout(timer);
  timer = undefined;
  const batch = results;
  results = [];
  await pool.query("INSERT INTO bare (url, status, body) VALUES ?", [batch.map(({ row }) => row)]);
  for (const { message } of batch) channel.ack(message);
}

async function work() {
  underWay += 1;
  while (waiting.length > 0) await fetchOne(waiting.shift());
  underWay -= 1;
}

await channel.consume(args.queue, (message) => {
  waiting.push(message);
  if (underWay < concurrency) work();
});
