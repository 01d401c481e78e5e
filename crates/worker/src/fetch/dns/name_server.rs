//! One question to one name server.

use std::net::SocketAddr;
use std::time::Duration;

use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::tcp::TcpClientStream;
use hickory_resolver::net::udp::UdpClientStream;
use hickory_resolver::net::xfer::{DnsHandle, DnsRequestSender};
use hickory_resolver::proto::op::{DnsRequest, DnsRequestOptions, DnsResponse, Query};
use tokio_stream::StreamExt;

/// Asks once over UDP, and over TCP where the answer is too long for that. Messages that do not
/// answer this very question are ignored.
pub(super) async fn ask(
    server: SocketAddr,
    question: Query,
    limit: Duration,
) -> Result<DnsResponse, NetError> {
    let mut options = DnsRequestOptions::default();
    // Some servers drop what they do not know, and TCP takes what is longer than 512 bytes.
    options.use_edns = false;
    let request = DnsRequest::from_query(question, options);
    let provider = TokioRuntimeProvider::default();
    let mut udp = UdpClientStream::builder(server, provider.clone())
        .with_timeout(Some(limit))
        .with_max_retries(1)
        .with_os_port_selection(true)
        .build();
    let response = first(udp.send_message(request.clone())).await?;
    if !response.truncation {
        return Ok(response);
    }
    let tcp = TcpClientStream::exchange(server, None, limit, None, provider).await?;
    first(tcp.send(request)).await
}

async fn first(
    mut responses: impl tokio_stream::Stream<Item = Result<DnsResponse, NetError>> + Unpin,
) -> Result<DnsResponse, NetError> {
    responses.next().await.unwrap_or(Err(NetError::NoConnections))
}
