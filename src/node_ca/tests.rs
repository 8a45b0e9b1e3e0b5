use std::{
    fs::{FileTimes, Permissions},
    os::unix::fs::{PermissionsExt as _, symlink},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::SystemTime,
};

use super::*;
use crate::runtime::shutdown::Cause;

/// A source and a destination that does not exist yet.
pub(super) struct Node {
    pub(super) root: tempfile::TempDir,
    pub(super) sync: NodeCaSync,
}

impl Node {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let sync = NodeCaSync {
            source: root.path().join("serviceca"),
            destination: root.path().join("etc/docker/certs.d"),
            prune_unmanaged: false,
            layout: Layout::Docker,
        };
        fs::create_dir(&sync.source).unwrap();
        Self { root, sync }
    }

    /// With a source as the kubelet mounts it.
    pub(super) fn mounted(keys: &[(&str, &str)]) -> Self {
        let node = Self::new();
        node.mount("..2026_01_01_00_00_00.1", keys);
        node
    }

    /// Updates the mount as the kubelet does when the ConfigMap changes, in the same order.
    pub(super) fn mount(&self, version: &str, keys: &[(&str, &str)]) {
        let source = &self.sync.source;
        let before = fs::read_link(source.join("..data")).ok();
        fs::create_dir(source.join(version)).unwrap();
        for (key, content) in keys {
            fs::write(source.join(version).join(key), content).unwrap();
        }
        symlink(version, source.join("..data_tmp")).unwrap();
        fs::rename(source.join("..data_tmp"), source.join("..data")).unwrap();
        for (key, _) in keys {
            let link = source.join(key);
            if link.symlink_metadata().is_err() {
                symlink(Path::new("..data").join(key), link).unwrap();
            }
        }
        for entry in fs::read_dir(source).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_symlink() && !entry.path().exists() {
                fs::remove_file(entry.path()).unwrap();
            }
        }
        if let Some(before) = before {
            fs::remove_dir_all(source.join(before)).unwrap();
        }
    }

    pub(super) fn source(&self, name: &str) -> PathBuf {
        self.sync.source.join(name)
    }

    pub(super) fn destination(&self, name: &str) -> PathBuf {
        self.sync.destination.join(name)
    }

    pub(super) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.destination(name)).unwrap()
    }

    /// Writes a file on the node, and creates its parent directories.
    pub(super) fn put(&self, name: &str, content: &str) {
        fs::create_dir_all(self.destination(name).parent().unwrap()).unwrap();
        fs::write(self.destination(name), content).unwrap();
    }

    pub(super) fn entries(&self, name: &str) -> Vec<String> {
        let entries = list(&self.destination(name)).unwrap();
        entries
            .iter()
            .map(|entry| entry.file_name().into_string().unwrap())
            .collect()
    }

    pub(super) fn pass(&self) -> Summary {
        self.sync.pass().unwrap()
    }
}

pub(super) fn summary(copied: usize, skipped: usize, trimmed: usize) -> Summary {
    Summary {
        copied,
        skipped,
        trimmed,
        ..Summary::default()
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

// workload 83
#[test]
fn each_key_becomes_a_directory_with_the_same_bytes_and_mode() {
    let node = Node::mounted(&[("registry..5000", "one\n"), ("a.b", "two\n")]);
    fs::set_permissions(node.source("a.b"), Permissions::from_mode(0o640)).unwrap();
    fs::set_permissions(node.source("registry..5000"), Permissions::from_mode(0o666)).unwrap();
    assert_eq!(node.pass(), summary(2, 0, 0));
    assert_eq!(node.entries(""), ["a.b", "registry:5000"]);
    assert_eq!(node.entries("registry:5000"), [MARKER, "ca.crt"]);
    assert_eq!(
        (node.read("registry:5000/ca.crt"), node.read("a.b/ca.crt")),
        ("one\n".into(), "two\n".into())
    );
    assert_eq!(
        (
            mode(&node.destination("registry:5000/ca.crt")),
            mode(&node.destination("a.b/ca.crt"))
        ),
        (0o666, 0o640)
    );
    assert_eq!(
        (mode(&node.destination("")), mode(&node.destination("a.b"))),
        (0o755, 0o755)
    );
}

// workload 84
#[test]
fn the_last_two_dots_become_the_colon() {
    for (key, name) in [
        ("this..is..not..valid..5000.crt", Some("this..is..not..valid:5000.crt")),
        ("a...b", Some("a.:b")),
        ("a..", Some("a:")),
        ("plain.example.com", Some("plain.example.com")),
        ("storage-ca-bundle.pem", None),
        ("", None),
        (".", None),
        ("..", None),
        ("../../passwd", None),
        ("a/b", None),
    ] {
        assert_eq!(directory_name(OsStr::new(key)), name.map(OsString::from), "{key}");
    }
    let node = Node::mounted(&[("this..is..not..valid..5000.crt", "x")]);
    node.pass();
    assert_eq!(node.entries(""), ["this..is..not..valid:5000.crt"]);
}

// lifecycle 129
#[test]
fn the_directory_of_a_removed_key_is_removed() {
    let node = Node::mounted(&[("reg.example.com..5000", "CA"), ("b", "B")]);
    node.pass();
    assert_eq!(node.read("reg.example.com:5000/ca.crt"), "CA");
    node.mount("..2026_01_01_00_00_00.2", &[("b", "B")]);
    assert_eq!(node.pass(), summary(0, 1, 1));
    assert_eq!(node.entries(""), ["b"]);
    node.mount("..2026_01_01_00_00_00.3", &[]);
    assert_eq!(node.pass(), summary(0, 0, 1));
    assert!(node.entries("").is_empty());
}

#[test]
fn an_unchanged_certificate_is_not_written_again() {
    let node = Node::mounted(&[("a", "A"), ("b", "B")]);
    node.pass();
    let before = [CERTIFICATE, MARKER].map(|file| fs::metadata(node.destination("a").join(file)).unwrap().ino());
    node.mount("..2026_01_01_00_00_00.2", &[("a", "A"), ("b", "C")]);
    assert_eq!(node.pass(), summary(1, 1, 0));
    let after = [CERTIFICATE, MARKER].map(|file| fs::metadata(node.destination("a").join(file)).unwrap().ino());
    assert_eq!(before, after);
    assert_eq!(node.read("b/ca.crt"), "C");
}

// workload 85
#[test]
fn a_newer_certificate_with_other_content_is_replaced() {
    let node = Node::mounted(&[("a", "RIGHT")]);
    node.pass();
    // Of the same length, and of other lengths.
    for wrong in ["WRONG", "", "LONGER THAN RIGHT"] {
        node.put("a/ca.crt", wrong);
        let later = SystemTime::now() + Duration::from_hours(1);
        let file = fs::File::options()
            .write(true)
            .open(node.destination("a/ca.crt"))
            .unwrap();
        file.set_times(FileTimes::new().set_modified(later)).unwrap();
        assert_eq!(node.pass(), summary(1, 0, 0), "{wrong}");
        assert_eq!(node.read("a/ca.crt"), "RIGHT");
    }
}

// workload 86
#[test]
fn only_managed_directories_are_removed() {
    let node = Node::mounted(&[("ours", "A")]);
    node.put("admins.example.com:443/ca.crt", "ADMIN");
    node.put("note.txt", "plain");
    fs::create_dir(node.root.path().join("elsewhere")).unwrap();
    symlink(node.root.path().join("elsewhere"), node.destination("link")).unwrap();
    assert_eq!(node.pass(), summary(1, 0, 0));
    node.mount("..2026_01_01_00_00_00.2", &[]);
    assert_eq!(node.pass(), summary(0, 0, 1));
    assert_eq!(node.entries(""), ["admins.example.com:443", "link", "note.txt"]);
    assert_eq!(node.entries("admins.example.com:443"), ["ca.crt"]);
}

// The Go operator wrote no marker.
#[test]
fn a_directory_under_a_required_name_is_adopted() {
    let node = Node::mounted(&[("reg..5000", "CA")]);
    node.put("reg:5000/ca.crt", "CA");
    assert_eq!(node.pass(), summary(0, 1, 0));
    assert_eq!(node.entries("reg:5000"), [MARKER, "ca.crt"]);
    node.mount("..2026_01_01_00_00_00.2", &[]);
    assert_eq!(node.pass(), summary(0, 0, 1));
    assert!(node.entries("").is_empty());
}

#[test]
fn files_of_others_in_a_managed_directory_stay() {
    let node = Node::mounted(&[("reg..5000", "CA")]);
    node.put("reg:5000/client.key", "KEY");
    node.pass();
    node.mount("..2026_01_01_00_00_00.2", &[]);
    assert_eq!(node.pass(), summary(0, 0, 1));
    assert_eq!(node.entries("reg:5000"), ["client.key"]);
    assert_eq!(node.pass(), summary(0, 0, 0));
}

#[test]
fn prune_unmanaged_removes_directories_of_others_but_no_files() {
    let mut node = Node::mounted(&[("ours", "A")]);
    node.sync.prune_unmanaged = true;
    node.put("admins.example.com/sub/ca.crt", "ADMIN");
    node.put("note.txt", "plain");
    fs::create_dir(node.root.path().join("elsewhere")).unwrap();
    symlink(node.root.path().join("elsewhere"), node.destination("link")).unwrap();
    assert_eq!(node.pass(), summary(1, 0, 1));
    assert_eq!(node.entries(""), ["link", "note.txt", "ours"]);
    assert!(node.root.path().join("elsewhere").exists());
}

#[test]
fn the_ca_of_the_storage_is_not_copied() {
    let node = Node::mounted(&[(names::STORAGE_CA_KEY, "STORAGE"), ("a", "A")]);
    assert_eq!(node.pass(), summary(1, 0, 0));
    assert_eq!(node.entries(""), ["a"]);
}

// workload 87, the part of one pass
#[test]
fn a_pass_without_a_complete_list_changes_nothing() {
    let node = Node::mounted(&[("a", "A")]);
    node.pass();
    fs::rename(&node.sync.source, node.root.path().join("away")).unwrap();
    let error = node.sync.pass().unwrap_err();
    assert!(matches!(error, SyncError::List(_)), "{error}");
    assert!(
        error.to_string().contains(node.sync.source.to_str().unwrap()),
        "{error}"
    );
    assert_eq!(node.read("a/ca.crt"), "A");

    let node = Node::mounted(&[("a", "A")]);
    fs::create_dir_all(node.sync.destination.parent().unwrap()).unwrap();
    fs::write(&node.sync.destination, "a file").unwrap();
    let error = node.sync.pass().unwrap_err();
    assert!(matches!(error, SyncError::NotADirectory(_)), "{error}");
    assert_eq!(fs::read_to_string(&node.sync.destination).unwrap(), "a file");

    let node = Node::mounted(&[("a", "A")]);
    fs::write(node.root.path().join("etc"), "a file").unwrap();
    let error = node.sync.pass().unwrap_err();
    assert!(matches!(error, SyncError::Destination(_)), "{error}");
}

#[test]
fn an_invalid_entry_does_not_stop_the_others() {
    let node = Node::mounted(&[("a", "A"), ("b", "B"), ("c", "C"), ("z", "Z")]);
    // A plain file where the directory should be, and a directory where the certificate should be.
    node.put("a", "plain");
    node.put("b/ca.crt/unexpected", "");
    // Two keys of one host: the first is used.
    fs::write(node.source("y..1"), "Y").unwrap();
    fs::write(node.source("y:1"), "OTHER").unwrap();
    // Neither file nor directory.
    let _pipe = std::os::unix::net::UnixListener::bind(node.source("socket")).unwrap();
    let done = node.pass();
    assert_eq!((done.copied, done.failed), (3, 4), "{done:?}");
    assert_eq!(
        (node.read("z/ca.crt"), node.read("y:1/ca.crt")),
        ("Z".into(), "Y".into())
    );
    assert_eq!(node.read("a"), "plain");
    assert_eq!(node.entries("b"), [MARKER, "ca.crt"]);
}

#[test]
fn an_unreadable_certificate_stays_on_the_node() {
    let node = Node::new();
    fs::write(node.source("a"), "A").unwrap();
    node.pass();
    fs::remove_file(node.source("a")).unwrap();
    // A link to itself has no metadata, even for root.
    symlink("a", node.source("a")).unwrap();
    let done = node.pass();
    assert_eq!((done.failed, done.trimmed), (1, 0), "{done:?}");
    assert_eq!(node.read("a/ca.crt"), "A");
    // A link without its file counts as absent.
    fs::remove_file(node.source("a")).unwrap();
    symlink("nothing", node.source("a")).unwrap();
    assert_eq!(node.pass(), summary(0, 0, 1));
}

#[test]
fn leftovers_of_an_interrupted_copy_are_removed() {
    let node = Node::mounted(&[("a", "A"), ("b", "B"), ("c", "C")]);
    let target_of_link = node.root.path().join("target_of_link");
    fs::write(&target_of_link, "target_of_link").unwrap();
    node.pass();
    node.put("a/ca.crt.tmp", "half");
    node.put("b/ca.crt.tmp", "half, and much longer than what comes");
    node.put("b/ca.crt", "?");
    // The copy does not write through a link.
    symlink(&target_of_link, node.destination("c/ca.crt.tmp")).unwrap();
    node.put("c/ca.crt", "?");
    assert_eq!(node.pass(), summary(2, 1, 0));
    for (name, content) in [("a", "A"), ("b", "B"), ("c", "C")] {
        assert_eq!(node.entries(name), [MARKER, "ca.crt"]);
        assert_eq!(node.read(&format!("{name}/ca.crt")), content);
    }
    assert_eq!(fs::read_to_string(target_of_link).unwrap(), "target_of_link");
    // In a directory that is removed.
    node.put("a/ca.crt.tmp", "half");
    node.mount("..2026_01_01_00_00_00.2", &[]);
    assert_eq!(node.pass(), summary(0, 0, 3));
    assert!(node.entries("").is_empty());
}

#[test]
fn a_linked_directory_is_followed_and_not_marked() {
    let node = Node::mounted(&[("a", "A")]);
    let real = node.root.path().join("real");
    fs::create_dir(&real).unwrap();
    fs::create_dir_all(&node.sync.destination).unwrap();
    symlink(&real, node.destination("a")).unwrap();
    assert_eq!(node.pass(), summary(1, 0, 0));
    assert_eq!(node.entries("a"), ["ca.crt"]);
}

// workload 89
#[test]
fn a_reader_sees_the_old_or_the_new_certificate() {
    let node = Node::new();
    let contents = ["A", "B"].map(|letter| letter.repeat(300_000));
    let rotate = |content: &str| {
        fs::write(node.root.path().join("next"), content).unwrap();
        fs::rename(node.root.path().join("next"), node.source("a")).unwrap();
        assert_eq!(node.pass(), summary(1, 0, 0));
    };
    rotate(&contents[0]);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut seen = [0_u32; 2];
            while !done.load(Ordering::Relaxed) {
                let read = node.read("a/ca.crt");
                let which = contents.iter().position(|content| *content == read);
                seen[which.expect("neither the old nor the new content")] += 1;
            }
            seen
        });
        for round in 1..100 {
            rotate(&contents[round % 2]);
        }
        done.store(true, Ordering::Relaxed);
        let seen = reader.join().unwrap();
        assert!(seen.iter().sum::<u32>() > 0, "{seen:?}");
    });
}

/// Runs until `condition` holds. Returns the time that this took.
async fn until(node: &Node, condition: impl Fn() -> bool) -> Duration {
    let (shutdown, started) = (Shutdown::new(), Instant::now());
    let watcher = async {
        while !condition() {
            assert!(
                started.elapsed() < Duration::from_mins(5),
                "the condition does not become true"
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        shutdown.begin(Cause::Signal("SIGTERM"));
        started.elapsed()
    };
    let (ended, took) = tokio::join!(node.sync.run(&shutdown), watcher);
    ended.unwrap();
    took
}

#[tokio::test(start_paused = true)]
async fn a_change_of_the_source_is_copied_within_seconds_and_one_of_the_node_reverted_within_a_minute() {
    let node = Node::mounted(&[("a", "A")]);
    let here = |content: &str| fs::read_to_string(node.destination("a/ca.crt")).is_ok_and(|read| read == content);
    assert!(until(&node, || here("A")).await < Duration::from_secs(1));
    let changed = AtomicBool::new(false);
    let took = until(&node, || {
        if !changed.swap(true, Ordering::Relaxed) {
            node.mount("..2026_01_01_00_00_00.2", &[("a", "B")]);
        }
        here("B")
    });
    assert!(took.await <= POLL_INTERVAL + Duration::from_millis(200));
    let changed = AtomicBool::new(false);
    let took = until(&node, || {
        if !changed.swap(true, Ordering::Relaxed) {
            fs::remove_dir_all(node.destination("a")).unwrap();
        }
        here("B")
    });
    assert!(took.await <= PERIOD + Duration::from_millis(200));
}

// workload 87, the loop
#[tokio::test(start_paused = true)]
async fn failed_passes_do_not_end_the_loop() {
    let node = Node::mounted(&[("a", "A")]);
    fs::create_dir_all(node.sync.destination.parent().unwrap()).unwrap();
    fs::write(&node.sync.destination, "unexpected").unwrap();
    let started = Instant::now();
    let took = until(&node, || {
        if started.elapsed() > Duration::from_secs(90) && node.sync.destination.is_file() {
            fs::remove_file(&node.sync.destination).unwrap();
        }
        node.destination("a/ca.crt").exists()
    });
    assert!(took.await <= 2 * PERIOD + Duration::from_secs(1));

    let node = Node::new();
    fs::remove_dir(&node.sync.source).unwrap();
    let started = Instant::now();
    let took = until(&node, || {
        if started.elapsed() > Duration::from_secs(9) && !node.sync.source.exists() {
            fs::create_dir(&node.sync.source).unwrap();
            node.mount("..2026_01_01_00_00_00.1", &[("a", "A")]);
        }
        node.destination("a/ca.crt").exists()
    });
    assert!(took.await <= Duration::from_secs(12));
}

#[tokio::test(start_paused = true)]
async fn a_destination_that_was_deleted_under_its_mount_ends_the_process() {
    let mut node = Node::mounted(&[("a", "A")]);
    let mounted = node.root.path().join("mounted");
    fs::create_dir(&mounted).unwrap();
    // Like a bind mount, the open file keeps the directory that nobody can reach by its name.
    let held = fs::File::open(&mounted).unwrap();
    fs::remove_dir(&mounted).unwrap();
    let descriptor = std::os::fd::AsRawFd::as_raw_fd(&held);
    node.sync.destination = format!("/proc/self/fd/{descriptor}").into();
    let shutdown = Shutdown::new();
    let ended = tokio::time::timeout(5 * PERIOD, node.sync.run(&shutdown)).await;
    let error = ended.expect("the process ends").unwrap_err();
    assert!(matches!(error, SyncError::Deleted(_)), "{error}");
}

#[test]
fn a_poll_detects_every_kind_of_change_and_nothing_else() {
    let node = Node::mounted(&[("a", "A")]);
    let mut before = Fingerprint::of(&node.sync.source);
    assert_eq!(Fingerprint::of(&node.sync.source), before);
    let changes: [&dyn Fn(); 4] = [
        &|| node.mount("..2026_01_01_00_00_00.2", &[("a", "B")]),
        &|| node.mount("..2026_01_01_00_00_00.3", &[("a", "B"), ("b", "")]),
        &|| node.mount("..2026_01_01_00_00_00.4", &[("b", "")]),
        &|| fs::remove_dir_all(&node.sync.source).unwrap(),
    ];
    for change in changes {
        change();
        let after = Fingerprint::of(&node.sync.source);
        assert_ne!(before, after);
        before = after;
    }
}
