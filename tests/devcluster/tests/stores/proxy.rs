//! A forward proxy.

use super::Moto;
use anyhow::{Result, ensure};
use devcluster::stores::{ForwardProxy, Hosts, ProxyOptions};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Sends text to an address; returns the response up to `end` or the end of the connection.
async fn converse(stream: &mut TcpStream, text: &str, end: &str) -> Result<String> {
    stream.write_all(text.as_bytes()).await?;
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    while !String::from_utf8_lossy(&answer).contains(end) {
        let count = stream.read(&mut buffer).await?;
        ensure!(count > 0, "ended after {}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&buffer[..count]);
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[tokio::test]
async fn a_forward_proxy_maps_hosts_and_counts_requests() -> Result<()> {
    let moto = Moto::shared().await?;
    let proxy = ForwardProxy::start(ProxyOptions {
        hosts: Hosts::new().with("*.test.example", moto.target().address),
        credentials: Some(("user".into(), "word".into())),
    })?;
    ensure!(proxy.url() == format!("http://user:word@{}", proxy.address()));
    let who = "Proxy-Authorization: Basic dXNlcjp3b3Jk\r\n";

    let mut stream = TcpStream::connect(proxy.address()).await?;
    let absolute = "GET http://s3.test.example/moto-api/ HTTP/1.1\r\nHost: s3.test.example\r\n";
    let refused = converse(&mut stream, &format!("{absolute}\r\n"), "you?").await?;
    ensure!(refused.starts_with("HTTP/1.1 407 "), "{refused}");
    let answer = converse(&mut stream, &format!("{absolute}{who}\r\n"), "</html>").await?;
    ensure!(answer.starts_with("HTTP/1.1 200 "), "{answer}");

    let mut stream = TcpStream::connect(proxy.address()).await?;
    let opened = converse(
        &mut stream,
        &format!("CONNECT s3.test.example:443 HTTP/1.1\r\n{who}\r\n"),
        "\r\n\r\n",
    )
    .await?;
    ensure!(opened.starts_with("HTTP/1.1 200 "), "{opened}");
    let answer = converse(
        &mut stream,
        "GET /moto-api/ HTTP/1.1\r\nHost: s3.test.example\r\n\r\n",
        "</html>",
    )
    .await?;
    ensure!(answer.starts_with("HTTP/1.1 200 "), "{answer}");

    let mut stream = TcpStream::connect(proxy.address()).await?;
    let unknown = converse(
        &mut stream,
        &format!("CONNECT example.com:443 HTTP/1.1\r\n{who}\r\n"),
        "know",
    )
    .await?;
    ensure!(unknown.starts_with("HTTP/1.1 502 "), "{unknown}");
    proxy.refuse(Some(503));
    let mut stream = TcpStream::connect(proxy.address()).await?;
    let refused = converse(
        &mut stream,
        &format!("CONNECT s3.test.example:443 HTTP/1.1\r\n{who}\r\n"),
        "test",
    )
    .await?;
    ensure!(refused.starts_with("HTTP/1.1 503 "), "{refused}");

    let seen: Vec<_> = proxy
        .seen()
        .into_iter()
        .map(|seen| (seen.target, seen.status))
        .collect();
    let expected = [
        ("http://s3.test.example/moto-api/", 407),
        ("http://s3.test.example/moto-api/", 200),
        ("s3.test.example:443", 200),
        ("example.com:443", 502),
        ("s3.test.example:443", 503),
    ];
    ensure!(
        seen == expected.map(|(target, status)| (target.to_owned(), status)),
        "{seen:?}"
    );
    Ok(())
}
