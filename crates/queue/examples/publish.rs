//! Publishes URLs from another service, and returns when the broker has confirmed all of them.
//!
//! Start a worker first; it declares the exchange and the queues. Then run, from the root of the
//! repository:
//!
//! ```sh
//! export AMQP_URL='amqp://user:password@127.0.0.1:5672/%2f'
//! cargo run -p fetchline-queue --example publish -- https://shop.example/{1,2,3}
//! ```
//!
//! Each URL then gets a row in the table `fetches`, with `run = 'example'`.

use fetchline_queue::{Broker, BrokerConfig, Draft, FetchRequest, Publisher, Role};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let url = std::env::var("AMQP_URL")?;
    let config = BrokerConfig { url, ca: None, prefix: "fetchline".to_owned() };
    let broker = Broker::new(&config, Role::Produce, "example")?;
    let mut publisher = Publisher::connect(&broker).await?;
    let drafts: Vec<Draft> = std::env::args()
        .skip(1)
        .map(|url| Ok(Draft::request(&FetchRequest::get_url(&url)?, "example", None)?))
        .collect::<anyhow::Result<_>>()?;
    let count = drafts.len();
    publisher.publish(drafts).await?;
    publisher.close().await;
    println!("published {count} URLs");
    Ok(())
}
