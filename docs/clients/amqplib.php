<?php
// Publishes the URLs of standard input. Needs php-amqplib/php-amqplib (Debian: php-amqplib).
require __DIR__ . '/vendor/autoload.php';

use PhpAmqpLib\Connection\AMQPStreamConnection;
use PhpAmqpLib\Message\AMQPMessage;
use PhpAmqpLib\Wire\AMQPTable;

$broker = parse_url(getenv('AMQP_URL') ?: 'amqp://guest:guest@127.0.0.1:5672/%2f');
if ($broker['scheme'] !== 'amqp') {
    throw new Exception('this program connects without TLS; see AMQPSSLConnection');
}
$connection = new AMQPStreamConnection($broker['host'], $broker['port'] ?? 5672,
    rawurldecode($broker['user'] ?? 'guest'), rawurldecode($broker['pass'] ?? 'guest'),
    rawurldecode(substr($broker['path'] ?? '/%2f', 1)));
$exchange = getenv('FETCHLINE_PREFIX') ?: 'fetchline';
$channel = $connection->channel();
$channel->confirm_select();
$channel->set_return_listener(fn ($code, $text) => throw new Exception("not stored: $text"));
$channel->set_nack_handler(fn () => throw new Exception('not stored: the queue is full'));
while (($line = fgets(STDIN)) !== false) {
    $headers = new AMQPTable(['x-run' => getenv('RUN') ?: 'php']);
    $task = new AMQPMessage(trim($line), ['delivery_mode' => 2, 'application_headers' => $headers,
        'message_id' => bin2hex(random_bytes(16))]);
    $channel->basic_publish($task, $exchange, 'urls', true);
}
$channel->wait_for_pending_acks_returns(60);
$connection->close();
