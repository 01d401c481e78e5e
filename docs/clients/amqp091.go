// Publishes the URLs of standard input. Needs github.com/rabbitmq/amqp091-go (Debian:
// golang-github-rabbitmq-amqp091-go-dev).
package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/hex"
	"log"
	"os"

	amqp "github.com/rabbitmq/amqp091-go"
)

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}

func environment(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

func main() {
	url := environment("AMQP_URL", "amqp://guest:guest@127.0.0.1:5672/%2f")
	exchange, run := environment("FETCHLINE_PREFIX", "fetchline"), environment("RUN", "go")
	connection := must(amqp.Dial(url))
	defer connection.Close()
	channel := must(connection.Channel())
	must(0, channel.Confirm(false))
	returned := channel.NotifyReturn(make(chan amqp.Return, 1))
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		id := make([]byte, 16)
		must(rand.Read(id))
		task := amqp.Publishing{DeliveryMode: amqp.Persistent, MessageId: hex.EncodeToString(id),
			Headers: amqp.Table{"x-run": run}, Body: lines.Bytes()}
		confirm := must(channel.PublishWithDeferredConfirmWithContext(
			context.Background(), exchange, "urls", true, false, task))
		if !confirm.Wait() || len(returned) > 0 {
			log.Fatal("the broker did not store ", lines.Text())
		}
	}
	must(0, lines.Err()) // such as a line of more than 64 KiB
}
