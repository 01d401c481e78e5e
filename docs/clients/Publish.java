// Publishes the URLs of standard input. Needs com.rabbitmq:amqp-client.
import com.rabbitmq.client.AMQP;
import com.rabbitmq.client.ConnectionFactory;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.Scanner;
import java.util.UUID;

public class Publish {
    public static void main(String[] arguments) throws Exception {
        var factory = new ConnectionFactory();
        factory.setUri(System.getenv("AMQP_URL"));
        try (var connection = factory.newConnection(); var channel = connection.createChannel()) {
            channel.confirmSelect();
            channel.addReturnListener(returned -> { throw new IllegalStateException("no queue"); });
            var task = new AMQP.BasicProperties.Builder()
                .deliveryMode(2).headers(Map.of("x-run", "java"));
            for (var lines = new Scanner(System.in); lines.hasNextLine();) {
                var body = lines.nextLine().trim().getBytes(StandardCharsets.UTF_8);
                channel.basicPublish("fetchline", "urls", true,
                    task.messageId(UUID.randomUUID().toString()).build(), body);
            }
            channel.waitForConfirmsOrDie(60_000);
        }
    }
}
