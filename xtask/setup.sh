#!/bin/sh
# Installs what a goal needs and this machine lacks: `sh xtask/setup.sh build|test|fuzz|bench`. It says what it will
# install before it asks for any right, installs nothing that is there, and starts no service.
# It is a shell script because the first thing missing may be the linker that every Rust program needs.
set -eu

goal=${1:-build}
here=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)
PATH=$PATH:$HOME/.cargo/bin:/usr/sbin:/sbin
export PATH
missing=""
oldest_rust=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' "$here/Cargo.toml")

say() { printf 'setup: %s\n' "$*" >&2; }
fail() { say "$@"; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }
need() { missing="$missing $1"; }

# SQLite and aws-lc are C: a compiler, a linker and libc's headers. On x86-64 and arm64 no cmake is needed.
for_build() {
    have cc || need gcc
    [ -e /usr/include/stdlib.h ] || need libc6-dev
    [ -e /etc/ssl/certs/ca-certificates.crt ] || need ca-certificates
}

# End-to-end tests use real programs: curl and openssl as other implementations, strace for the order of syncs, a systemd
# that is booted in namespaces of its own.
for_test() {
    for_build
    have curl || need curl
    have openssl || need openssl
    have strace || need strace
    browser || need chromium
    have node || need nodejs
    have npm || need npm
    have valgrind || need valgrind
    [ -x /usr/lib/systemd/systemd ] || need systemd
    have ip || need iproute2
    have python3 && python3 -c 'import ensurepip' 2>/dev/null || need python3-venv
}

# libFuzzer is C++.
for_fuzz() {
    for_build
    have c++ || need g++
}

# The peers that the benchmark compares with.
for_bench() {
    for_build
    have nginx || need nginx-light
    have curl || need curl
    have rclone || need rclone
    have sshd || need openssh-server
    have sftp || need openssh-client
    have ip || need iproute2
    have iptables || need iptables
}

# Whether there is a Chromium: the variable and the names that tests/browser/browser.mjs knows.
browser() {
    for name in "${CHROMIUM:-}" chromium chromium-browser google-chrome; do
        [ -n "$name" ] && have "$name" && return 0
    done
    return 1
}

# Ubuntu names it differently.
name_the_browser() {
    for name in chromium chromium-browser; do
        if apt-cache show "$name" >/dev/null 2>&1; then
            missing=$(printf '%s' "$missing" | sed "s/chromium/$name/")
            return 0
        fi
    done
    fail "no package has Chromium; install any Chromium or Chrome and name it in CHROMIUM"
}

# Runs a command with the rights to install; `sudo -n` where nobody can type a password.
as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"
    elif ! have sudo; then fail "not root, and there is no sudo; as root run: apt-get install$missing"
    elif [ -t 0 ]; then sudo "$@"
    else sudo -n "$@" || fail "sudo needs a password; run: sudo apt-get install$missing"
    fi
}

# A package that brings a service must not start it: Debian asks this file. One that exists is left alone.
policy=/usr/sbin/policy-rc.d
forbid_starting() {
    [ -e "$policy" ] && return 0
    trap 'as_root rm -f "$policy"' EXIT
    trap 'exit 130' INT TERM
    as_root sh -c "printf '#!/bin/sh\nexit 101\n' >$policy && chmod 755 $policy"
}

install_missing() {
    [ -n "$missing" ] || return 0
    have apt-get || fail "missing:$missing. This is not Debian or Ubuntu: install them in your system's way, then try again"
    say "these Debian packages are missing and will be installed:$missing"
    [ "$(id -u)" = 0 ] || say "sudo may ask for your password for that"
    forbid_starting
    as_root apt-get -o DPkg::Lock::Timeout=120 -qq update
    case $missing in *chromium*) name_the_browser ;; esac
    # shellcheck disable=SC2086 # a list of names
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 -o Dpkg::Use-Pty=0 -qq -y \
        install --no-install-recommends $missing >&2
    say "installed:$missing"
}

check_rust() {
    have cargo || fail "cargo is missing. Install Rust as https://rustup.rs says, then try again"
    version=$(rustc --version | cut -d' ' -f2)
    oldest=$(printf '%s\n%s\n' "$oldest_rust" "$version" | sort -V | head -n 1)
    [ "$oldest" = "$oldest_rust" ] || fail "Rust $version is too old: $oldest_rust or newer is needed; run: rustup update stable"
}

# The few JavaScript packages of a folder, exactly as its lock file says; again only when that changed.
install_node_packages() {
    folder=$here/$1
    [ -e "$folder/package-lock.json" ] || return 0
    cmp -s "$folder/package-lock.json" "$folder/node_modules/.lock-installed" && return 0
    say "installing the JavaScript packages of $1"
    (cd "$folder" && npm ci --no-audit --no-fund --ignore-scripts >&2)
    cp "$folder/package-lock.json" "$folder/node_modules/.lock-installed"
}

# Other implementations in Python, exactly as the list says; again only when that changed.
install_python_packages() {
    folder=$here/tests/agreement
    cmp -s "$folder/requirements.txt" "$folder/.venv/.installed" && return 0
    say "installing the Python packages of tests/agreement"
    rm -rf "$folder/.venv"
    python3 -m venv "$folder/.venv"
    "$folder/.venv/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: \
        -r "$folder/requirements.txt" >&2
    cp "$folder/requirements.txt" "$folder/.venv/.installed"
}

case $goal in
    build) for_build; install_missing; check_rust ;;
    test) for_test; install_missing; check_rust
        install_node_packages tests/browser; install_node_packages web/console
        install_python_packages ;;
    fuzz) for_fuzz; install_missing; check_rust ;;
    bench) for_bench; install_missing; check_rust ;;
    *) fail "unknown goal '$goal': build, test, fuzz or bench" ;;
esac
