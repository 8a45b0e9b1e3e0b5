use std::{
    os::unix::fs::{MetadataExt as _, symlink},
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use super::super::tests::{Node, summary};
use super::super::{Layout, MARKER, Summary};
use super::*;
use crate::runtime::shutdown::Cause;

const KEY: &str = "image-registry.openshift-image-registry.svc..5000";
const HOST: &str = "image-registry.openshift-image-registry.svc:5000";
const TEXT: &str = "# DaemonSet openshift-image-registry/node-ca writes this file; edits are lost.\n";

fn servers(list: &[&str]) -> Layout {
    Layout::Containerd(list.iter().map(|server| server.parse::<Server>().unwrap()).collect())
}

fn node(keys: &[(&str, &str)], list: &[&str]) -> Node {
    let mut node = Node::mounted(keys);
    node.sync.layout = servers(list);
    node
}

fn left_alone(count: usize) -> Summary {
    Summary {
        left_alone: count,
        ..Summary::default()
    }
}

// kubernetes 10, the files
#[test]
fn each_host_gets_a_directory_with_its_ca_and_its_server() {
    let keys = [
        (KEY, "CA"),
        ("reg.example.com", "R"),
        ("docker.io", "D"),
        ("v6..5000", "V"),
    ];
    let node = node(&keys, &[&format!("{HOST}=10.1.2.3:5000"), "v6:5000=[fd00::7]:5000"]);
    assert_eq!(node.pass(), summary(4, 0, 0));
    assert_eq!(node.entries(""), ["docker.io", HOST, "reg.example.com", "v6:5000"]);
    assert_eq!(node.entries(HOST), [MARKER, "ca.crt", "hosts.toml"]);
    for (host, server, ca) in [
        (HOST, "server = \"https://10.1.2.3:5000\"\n", "CA"),
        ("reg.example.com", "server = \"https://reg.example.com\"\n", "R"),
        ("docker.io", "", "D"),
        ("v6:5000", "server = \"https://[fd00::7]:5000\"\n", "V"),
    ] {
        let expected = format!("{TEXT}{server}ca = \"ca.crt\"\n");
        assert_eq!(node.read(&format!("{host}/hosts.toml")), expected);
        assert_eq!(node.read(&format!("{host}/ca.crt")), ca);
    }
}

// kubernetes 11, the files
#[test]
fn another_address_replaces_hosts_toml_alone_and_a_second_pass_writes_nothing() {
    let mut node = node(&[(KEY, "CA")], &[&format!("{HOST}=10.1.2.3:5000")]);
    node.pass();
    let inode = |file: &str| fs::metadata(node.destination(HOST).join(file)).unwrap().ino();
    let before = [inode("ca.crt"), inode("hosts.toml"), inode(MARKER)];
    assert_eq!(node.pass(), summary(0, 1, 0));
    assert_eq!([inode("ca.crt"), inode("hosts.toml"), inode(MARKER)], before);
    node.sync.layout = servers(&[&format!("{HOST}=10.9.9.9:5000")]);
    assert_eq!(node.pass(), summary(1, 0, 0));
    assert!(node.read(&format!("{HOST}/hosts.toml")).contains("10.9.9.9"));
    let inode = |file: &str| fs::metadata(node.destination(HOST).join(file)).unwrap().ino();
    assert_eq!([inode("ca.crt"), inode(MARKER)], [before[0], before[2]]);
}

#[test]
fn the_directory_of_a_removed_host_is_removed_and_files_of_others_in_it_stay() {
    let node = node(&[(KEY, "CA"), ("b", "B")], &[]);
    node.pass();
    node.put("b/client.key", "KEY");
    node.mount("..2026_01_01_00_00_00.2", &[]);
    assert_eq!(node.pass(), summary(0, 0, 2));
    assert_eq!(node.entries(""), ["b"]);
    assert_eq!(node.entries("b"), ["client.key"]);
    // What stays is not ours any more.
    node.mount("..2026_01_01_00_00_00.3", &[("b", "B")]);
    assert_eq!(node.pass(), left_alone(1));
    assert_eq!(node.entries("b"), ["client.key"]);
}

// kubernetes 12
#[test]
fn directories_of_others_are_untouched_under_any_name_also_on_removal() {
    let node = node(&[(KEY, "CA"), ("a", "A"), ("l", "L"), ("f", "F")], &[]);
    let theirs = [
        "image-registry.openshift-image-registry.svc_5000_",
        "a",
        "_default",
        ".hidden",
    ];
    for name in theirs {
        node.put(&format!("{name}/hosts.toml"), name);
    }
    fs::create_dir(node.root.path().join("elsewhere")).unwrap();
    symlink(node.root.path().join("elsewhere"), node.destination("l")).unwrap();
    node.put("f", "a file");
    let untouched = || {
        assert_eq!(node.entries("").len(), 6, "{:?}", node.entries(""));
        for name in theirs {
            assert_eq!(node.entries(name), ["hosts.toml"]);
            assert_eq!(node.read(&format!("{name}/hosts.toml")), name);
        }
        assert_eq!(fs::read_dir(node.root.path().join("elsewhere")).unwrap().count(), 0);
        assert_eq!(node.read("f"), "a file");
    };
    assert_eq!(node.pass(), left_alone(4));
    untouched();
    node.mount("..2026_01_01_00_00_00.2", &[]);
    assert_eq!(node.pass(), summary(0, 0, 0));
    untouched();
}

#[test]
fn what_an_interrupted_creation_left_is_removed_and_the_host_is_not_taken_for_one_of_others() {
    let node = node(&[("a", "A")], &[]);
    node.put(".a.image-registry-operator/ca.crt", "half");
    node.put(".gone.image-registry-operator/ca.crt", "half");
    assert_eq!(node.pass().copied, 1);
    assert_eq!(node.entries(""), ["a"]);
    assert_eq!(node.read("a/ca.crt"), "A");
}

#[test]
fn a_key_that_cannot_stand_in_the_file_is_skipped_with_an_error() {
    let node = node(&[("a\"b", "X"), ("-a", "X"), ("good", "G")], &[]);
    let done = node.pass();
    assert_eq!((done.copied, done.failed), (1, 2), "{done:?}");
    assert_eq!(node.entries(""), ["good"]);
}

#[test]
fn a_reader_never_sees_a_directory_or_a_file_that_is_not_complete() {
    let mut node = node(&[("a..1", "A")], &[]);
    let root = node.sync.destination.clone();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut seen = 0_u32;
            while !done.load(Ordering::Relaxed) {
                if !root.join("a:1").is_dir() {
                    continue;
                }
                let hosts = fs::read_to_string(root.join("a:1/hosts.toml")).expect("a directory has its files");
                assert!(hosts.ends_with("ca = \"ca.crt\"\n"), "{hosts}");
                assert_eq!(
                    fs::read_to_string(root.join("a:1/ca.crt")).expect("it names the CA"),
                    "A"
                );
                seen += 1;
            }
            seen
        });
        for round in 1..200 {
            node.sync.layout = servers(&[&format!("a:1=10.0.0.{round}:1")]);
            assert_eq!(node.pass(), summary(1, 0, 0));
        }
        done.store(true, Ordering::Relaxed);
        assert!(reader.join().unwrap() > 0);
    });
}

#[tokio::test(start_paused = true)]
async fn a_missing_or_empty_directory_is_waited_for() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("containerd");
    let (shutdown, began) = (Shutdown::new(), Instant::now());
    let appears = async {
        tokio::time::sleep(std::time::Duration::from_secs(20)).await;
        fs::create_dir(&directory).unwrap();
        tokio::time::sleep(std::time::Duration::from_secs(20)).await;
        fs::write(directory.join("config.toml"), "").unwrap();
    };
    tokio::join!(await_directory(&directory, &shutdown), appears);
    let took = began.elapsed().as_secs();
    assert!((40..44).contains(&took), "{took}");
    // A signal ends the wait.
    let signal = async { shutdown.begin(Cause::Signal("SIGTERM")) };
    let other = root.path().join("other");
    tokio::join!(await_directory(&other, &shutdown), signal);
    let text = why_waiting(Path::new("/etc/containerd"), None);
    assert!(
        text.contains("no directory /etc/containerd") && text.contains("config_path = \"/etc/containerd/certs.d\"")
    );
}
