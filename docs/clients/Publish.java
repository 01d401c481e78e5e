// Publishes the URLs of standard input. Needs com.rabbitmq:amqp-client (Debian:
// librabbitmq-client-java and libslf4j-java).
import com.rabbitmq.client.AMQP;
import com.rabbitmq.client.ConnectionFactory;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.Scanner;
import java.util.UUID;
import java.util.concurrent.atomic.AtomicInteger;

public class Publish {
    static String environment(String name, String otherwise) {
        return System.getenv().getOrDefault(name, otherwise);
    }

    public static void main(String[] arguments) throws Exception {
        var factory = new ConnectionFactory();
        factory.setUri(environment("AMQP_URL", "amqp://guest:guest@127.0.0.1:5672/%2f"));
        var exchange = environment("FETCHLINE_PREFIX", "fetchline");
        try (var connection = factory.newConnection(); var channel = connection.createChannel()) {
            var returned = new AtomicInteger();
            channel.confirmSelect();
            // The client library only logs what a listener throws.
            channel.addReturnListener((code, text, e, key, properties, body) ->
                returned.incrementAndGet());
            var task = new AMQP.BasicProperties.Builder()
                .deliveryMode(2).headers(Map.of("x-run", environment("RUN", "java")));
            var lines = new Scanner(System.in, StandardCharsets.UTF_8);
            while (lines.hasNextLine()) {
                var body = lines.nextLine().trim().getBytes(StandardCharsets.UTF_8);
                channel.basicPublish(exchange, "urls", true,
                    task.messageId(UUID.randomUUID().toString()).build(), body);
            }
            if (lines.ioException() != null) {
                throw lines.ioException();
            }
            channel.waitForConfirmsOrDie(60_000);
            if (returned.get() > 0) {
                throw new IllegalStateException(returned + " URLs are not stored: no queue");
            }
        }
    }
}
