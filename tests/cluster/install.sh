#!/usr/bin/env bash
# Apptainer, SLURM and buildah on Debian 12, as root. Debian ships Apptainer in its unstable suite alone, built against a
# newer C library: take both from the mirror that apt already uses, and give Apptainer's two programs their own loader.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive
libc=/opt/apptainer-libc
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

apt-get update --quiet >"$work/log" || { cat "$work/log"; exit 1; }
apt-get install --quiet --yes slurm-wlm slurm-client munge buildah mmdebstrap squashfs-tools \
    squashfuse fuse-overlayfs uidmap patchelf containernetworking-plugins >"$work/log" || { cat "$work/log"; exit 1; }
# Ids of other users in a namespace of root's own, in which Apptainer builds with --fakeroot.
for file in /etc/subuid /etc/subgid; do
    grep --quiet ^root: "$file" || echo root:1:65536 >>"$file"
done
# Anyone may mount images, as on a machine that has the device from its start.
chmod a+rw /dev/fuse
command -v apptainer >/dev/null && exit

mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Codename: bookworm' | head -n 1)
for suite in sid trixie; do
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main"
done >"$work/sources.list"
mkdir -p "$work"/lists/partial "$work"/cache/archives/partial "$libc"
other_suites=(-o Dir::Etc::SourceList="$work/sources.list" -o Dir::Etc::SourceParts=/dev/null
    -o Dir::State::Lists="$work/lists" -o Dir::Cache="$work/cache" -o APT::Sandbox::User=root)
apt-get "${other_suites[@]}" update --quiet >"$work/log" || { cat "$work/log"; exit 1; }
cd "$work"
apt-get "${other_suites[@]}" download --quiet apptainer/sid libc6/trixie libseccomp2/trixie >/dev/null
for package in libc6 libseccomp2; do
    dpkg --extract "$package"_*.deb "$package"
    cp --archive "$package"/usr/lib/x86_64-linux-gnu/. "$libc/"
done
dpkg --extract apptainer_*.deb apptainer
cp --archive apptainer/. /
for program in /usr/bin/apptainer /usr/lib/x86_64-linux-gnu/apptainer/bin/starter; do
    patchelf --set-interpreter "$libc/ld-linux-x86-64.so.2" --set-rpath "$libc:/usr/lib/x86_64-linux-gnu" "$program"
done
# Root in a sandbox may lack some capabilities, and Apptainer asks for all of them by default.
sed --in-place 's/^root default capabilities.*/root default capabilities = no/' /etc/apptainer/apptainer.conf
