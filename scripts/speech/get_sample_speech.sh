#!/usr/bin/env bash
# Brings two hours of spoken prompts by four voices into data/sample_speech, once; needs apt but no root.
set -euo pipefail

packages=(asterisk-core-sounds-{en,es,fr,it,ru}-g722)
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
output="$root/data/sample_speech"
splits="train: en, es (Allison), fr (June); val: it (Carlo); test: ru (ivrvoice.ru)"

own_speech="give your own speech instead: --data_dir FOLDER with a folder of wav, flac or ogg files per speaker"

stop() {
    echo "sample speech: $*; $own_speech" >&2
    exit 1
}

if [[ -f "$output/manifest.csv" ]]; then
    echo "sample speech: already in $output ($splits)"
    exit 0
fi
for tool in apt-get dpkg-deb; do
    command -v "$tool" >/dev/null || stop "expected Debian's $tool, found none"
done

source "$root/scripts/setup.sh"
mkdir -p "$root/data"
work="$(mktemp -d "$root/data/.download.XXXXXX")"
trap 'rm -rf "$work"' EXIT
cd "$work"
echo "sample speech: downloading 55 MB (${packages[*]})"
apt-get download -qq "${packages[@]}" 2>apt.log ||
    stop "apt could not download (offline, or its lists are old: apt-get update): $(grep '^E:' apt.log | head -n 1)"
for package in *.deb; do
    dpkg-deb -x "$package" unpacked
done
cd "$root"
python -m scripts.speech.decode_sample_speech "$work/unpacked/usr/share/asterisk/sounds" "$output"
echo "sample speech: $(($(wc -l <"$output/manifest.csv") - 1)) files in $output; speakers are in one split each: $splits"
