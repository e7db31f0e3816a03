//! The signalling server alone, without anything that trains: `serve [ADDRESS [CONNECTIONS_PER_ADDRESS]]`.
//!
//! It is what `ringtmp serve` runs, in a program that builds in a fraction of the time: for a small machine that only brokers,
//! and for measuring (`ringtmp bench server --program`).

use signaling_server::{Config, Server};
use std::error::Error;
use std::net::SocketAddr;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut config = Config::default();
    if let Some(address) = arguments.next() {
        config.address = address.parse::<SocketAddr>()?;
    }
    if let Some(connections) = arguments.next() {
        config.connections_per_address_max = connections.parse()?;
    }
    let server = Server::bind(config)?;
    println!("http://{}", server.address());
    server.run(std::future::pending()).await?;
    Ok(())
}
