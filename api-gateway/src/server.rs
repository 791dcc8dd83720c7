//! The server: connections, and when they end.

use std::{
    net::{TcpListener, ToSocketAddrs},
    time::Duration,
};

use actix_http::{HttpService, error::DispatchError};
use actix_server::Server;
use actix_service::{IntoServiceFactory as _, ServiceFactoryExt as _, fn_service, map_config};
use actix_web::{Error, dev::AppConfig, rt::net::TcpStream, web};
use tokio::net::TcpSocket;
use tokio_util::sync::CancellationToken;

use crate::{
    app::{Gateway, app},
    peer,
};

/// Listens on the first address of `host` that can be had.
///
/// # Errors
/// When the host has no address, or none of them can be had.
pub fn listen(host: &str, port: u16, backlog: u32) -> std::io::Result<TcpListener> {
    let mut failure = std::io::Error::from(std::io::ErrorKind::AddrNotAvailable);
    for address in (host, port).to_socket_addrs()? {
        let listen = || {
            let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            socket.listen(backlog)?.into_std()
        };
        match listen() {
            Ok(listener) => return Ok(listener),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// Serves until the shutdown token of `gateway` is cancelled, then for at most `limit` longer.
///
/// # Errors
/// When the listener can't be used.
pub async fn serve(listener: TcpListener, gateway: Gateway, limit: Duration) -> std::io::Result<()> {
    let (settings, shutdown) = (gateway.settings.clone(), gateway.shutdown.clone());
    let workers = match settings.workers {
        0 => std::thread::available_parallelism().map_or(2, usize::from),
        workers => workers,
    };
    let server = Server::build()
        .workers(workers)
        // The framework counts for each worker.
        .max_concurrent_connections(settings.max_connections.div_ceil(workers))
        .disable_signals()
        .shutdown_signal(shutdown.clone().cancelled_owned())
        .shutdown_timeout(limit.as_secs());
    let data = web::Data::new(gateway);
    let connections = move || {
        let (unused, open) = (shutdown.clone(), shutdown.clone());
        let (head_timeout, keep_alive) = (settings.head_timeout, settings.keep_alive);
        let routes = app(data.clone()).into_factory().map_err(|error: Error| error.error_response());
        let http = HttpService::build()
            .graceful_shutdown_signal(move || open.clone().cancelled_owned())
            .client_request_timeout(head_timeout)
            .keep_alive(keep_alive)
            .on_connect_ext(|stream: &TcpStream, data| peer::connected(stream, data))
            .finish(map_config(routes, |()| AppConfig::default()))
            .tcp();
        fn_service(move |stream: TcpStream| used(stream, keep_alive, unused.clone())).and_then(http)
    };
    server.listen("gateway", listener, connections)?.run().await
}

/// Comes back once something was sent on a connection. From then on the head of a request is waited for, whose absence is
/// answered with 408: on a connection that a client has only opened beforehand, it would take that for the answer to the request that it
/// is about to send. So such a connection is closed without a word, and like one that is not used any more.
async fn used(
    stream: TcpStream,
    keep_alive: Duration,
    shutdown: CancellationToken,
) -> Result<TcpStream, DispatchError> {
    let sent = tokio::time::timeout(keep_alive, stream.readable());
    match shutdown.run_until_cancelled(sent).await {
        Some(Ok(Ok(()))) => Ok(stream),
        Some(Ok(Err(error))) => Err(DispatchError::Io(error)),
        Some(Err(_)) | None => Err(DispatchError::DisconnectTimeout),
    }
}
