//! Errors of a server, for tests. The driver makes one only of a packet that a server sends.

use sqlx::Connection;
use sqlx::mysql::MySqlConnection;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

/// The driver's error for a server that answers with this number.
pub(crate) async fn server_error(number: u16) -> sqlx::Error {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("mysql://root@{}/x", listener.local_addr().unwrap());
    let answer = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        // The length of the packet, its position, and what makes it an error.
        let [low, high] = number.to_le_bytes();
        stream.write_all(&[3, 0, 0, 0, 0xff, low, high]).await.unwrap();
        stream
    };
    let (connection, _stream) = tokio::join!(MySqlConnection::connect(&url), answer);
    connection.unwrap_err()
}
