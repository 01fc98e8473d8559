#!/usr/bin/env bash
# Build the image and from it containers/virnucflow-VERSION.sif. Arguments go to the engine: --build-arg NAME=VALUE ...
# ENGINE is docker, podman or buildah; without it, the first that is there. SIF is another name for the file that is made.
set -euo pipefail
sif=${SIF:+$(realpath --canonicalize-missing "$SIF")}
cd "$(dirname "$0")/.."
version=$(cat workflow/scripts/virnucflow/VERSION)
image=virnucflow:$version
sif=${sif:-containers/virnucflow-$version.sif}

for engine in ${ENGINE:-docker podman buildah}; do
    command -v "$engine" >/dev/null && break || engine=
done
for needed in "${engine:-docker, podman or buildah}" apptainer; do
    command -v "$needed" >/dev/null || { echo "build.sh: error: no $needed on this machine; containers/README.md has other ways" >&2; exit 1; }
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$engine" build --file containers/Dockerfile --tag "$image" --build-arg VERSION="$version" "$@" .
case $engine in
    buildah) buildah push "$image" "docker-archive:$work/image.tar:$image" ;;
    *) "$engine" save --output "$work/image.tar" "$image" ;;
esac
apptainer build --force "$work/image.sif" "docker-archive:$work/image.tar"
mkdir -p "$(dirname "$sif")"
mv "$work/image.sif" "$sif"
echo "$sif"
