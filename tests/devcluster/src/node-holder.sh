# The first process of a real node: sets up what the node sees of this machine, then holds its namespaces (network,
# mounts, processes). Whatever runs or is mounted in the node ends with it. $1: the node's directory.
set -e
d=$1
# /proc still shows this machine's process ids: the shell's own one is how others find the namespaces.
read -r pid rest </proc/self/stat
mount -t proc proc /proc
# Programs keep state in these whatever they are told; it must not mix with other nodes' or with this machine's.
mount -t tmpfs tmpfs /run
mkdir -p /run/netns /run/lock
mount -t tmpfs tmpfs /var/lib
mount -t tmpfs tmpfs /var/log
# An /etc of its own, for what pods (node-ca) and the name resolver write.
mkdir -p "$d/etc"
mount -t tmpfs tmpfs "$d/etc"
cp -a /etc/. "$d/etc/"
mkdir -p "$d/etc/docker/certs.d"
# containerd reads one directory; a list of two is read by no pull of containerd 2.3. node-ca of OKD writes the other one. A test with
# node-ca for containerd removes the link.
rm -rf "$d/etc/containerd"
mkdir "$d/etc/containerd"
ln -s /etc/docker/certs.d "$d/etc/containerd/certs.d"
rm -f "$d/etc/hosts" "$d/etc/resolv.conf"
: >"$d/etc/hosts"
: >"$d/etc/resolv.conf"
mount --bind "$d/certs.d" "$d/etc/docker/certs.d"
mount --bind "$d/hosts" "$d/etc/hosts"
mount --rbind "$d/etc" /etc
# The kubelet's volumes reach the containers that it starts.
mount --make-rshared /
echo 1 >/proc/sys/net/ipv4/ip_forward
echo "$pid" >"$d/holder.new"
mv "$d/holder.new" "$d/holder.pid"
# Waiting also buries processes whose parents have died.
while :; do
  sleep 3600 &
  wait
done
