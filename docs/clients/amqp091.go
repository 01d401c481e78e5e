// Publishes the URLs of standard input. Needs github.com/rabbitmq/amqp091-go.
package main

import (
	"bufio"
	"context"
	"crypto/rand"
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

func main() {
	connection := must(amqp.Dial(os.Getenv("AMQP_URL")))
	defer connection.Close()
	channel := must(connection.Channel())
	must(0, channel.Confirm(false))
	returned := channel.NotifyReturn(make(chan amqp.Return, 1))
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		task := amqp.Publishing{DeliveryMode: amqp.Persistent, MessageId: rand.Text(),
			Headers: amqp.Table{"x-run": "go"}, Body: lines.Bytes()}
		confirm := must(channel.PublishWithDeferredConfirmWithContext(
			context.Background(), "fetchline", "urls", true, false, task))
		if !confirm.Wait() || len(returned) > 0 {
			log.Fatal("the broker did not store ", lines.Text())
		}
	}
}
