//! The network of a pod on a real node, as the pod's containers see it: to connect from there and to listen there, without
//! a program in the pod's image.

use anyhow::{Context as _, Result, bail};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::time::Duration;
use tokio::task::JoinHandle;

/// The network namespace of a pod. It stays until this value and its listeners are dropped.
#[derive(Debug)]
pub struct PodNetwork {
    namespace: File,
}

/// A listener in a pod, until it is dropped.
#[derive(Debug)]
pub struct PodListener {
    accepting: JoinHandle<()>,
}

impl Drop for PodListener {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl PodNetwork {
    /// The network of the pod to which a running container belongs. `container` is the `containerID` of its status, such as
    /// `containerd://4f1c...`.
    pub fn of(container: &str) -> Result<Self> {
        let id = container.rsplit('/').next().unwrap_or_default();
        if id.is_empty() {
            bail!("{container:?} is no id of a container");
        }
        let process = first_process(id).with_context(|| format!("container {id} does not run"))?;
        let path = format!("/proc/{process}/ns/net");
        let namespace = File::open(&path).with_context(|| format!("cannot open {path}"))?;
        Ok(Self { namespace })
    }

    /// Listens at a port of all the pod's addresses, and closes each connection. Needs a tokio runtime.
    pub fn listen(&self, port: u16) -> Result<PodListener> {
        let listener = self
            .within(|| {
                let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))?;
                listener.set_nonblocking(true)?;
                Ok(listener)
            })
            .and_then(tokio::net::TcpListener::from_std)
            .with_context(|| format!("cannot listen at port {port} of a pod"))?;
        // Without this, the listener would seem to be filtered as soon as its queue is full.
        let accepting = tokio::spawn(async move {
            loop {
                if listener.accept().await.is_err() {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        });
        Ok(PodListener { accepting })
    }

    /// Connects from the pod; blocks for at most `limit`.
    pub fn connect(&self, to: SocketAddr, limit: Duration) -> io::Result<TcpStream> {
        self.within(|| TcpStream::connect_timeout(&to, limit))
    }

    /// A socket belongs to the namespace in which it was opened. A thread that has moved to another never moves back; hence
    /// a thread for each call.
    fn within<T: Send>(&self, open: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
        let namespace = self.namespace.as_fd();
        std::thread::scope(|scope| {
            let opened = scope.spawn(move || {
                move_into_link_name_space(namespace, Some(LinkNameSpaceType::Network))?;
                open()
            });
            opened.join().map_err(|_| io::Error::other("the thread panicked"))?
        })
    }
}

/// The process with the lowest id in the control group of a container, which is its first.
fn first_process(container: &str) -> Option<u32> {
    let of_container = |process: &u32| {
        // A process may have ended meanwhile.
        fs::read_to_string(format!("/proc/{process}/cgroup")).is_ok_and(|groups| {
            groups
                .lines()
                .any(|group| group.rsplit('/').next().is_some_and(|last| last == container))
        })
    };
    let processes = fs::read_dir("/proc").ok()?.filter_map(Result::ok);
    processes
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(of_container)
        .min()
}
