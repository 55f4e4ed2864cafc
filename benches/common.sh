# What `benches/run`, `benches/compare` and `benches/growth` have in common: options, certificates,
# the backend, the gateway's configuration, and how long is waited. To be sourced; it starts nothing
# by itself.
# shellcheck shell=bash
# shellcheck disable=SC2034 # the variables are of whoever sources this

fail() {
    echo "error: $1" >&2
    if [[ -n ${2-} ]]; then echo "hint: $2" >&2; fi
    exit "${3:-1}"
}

# --- options -----------------------------------------------------------------------------------

rounds=3 seconds=2 profile=release-package parent=${TMPDIR:-/tmp} port=28443 keep=''
program=benches/$(basename "$0")

# Takes an option that both have; `taken` says how many words it was.
shared_option() {
    taken=1
    case $1 in
    --keep)
        keep=yes
        return
        ;;
    --rounds | --seconds | --profile | --dir | --port) ;;
    *) fail "there is no option $1" "$program --help" 64 ;;
    esac
    (($# > 1)) || fail "$1 takes a value" "$program --help" 64
    taken=2
    case $1 in
    --rounds) rounds=$2 ;;
    --seconds) seconds=$2 ;;
    --profile) profile=$2 ;;
    --dir) parent=$2 ;;
    --port) port=$2 ;;
    esac
}

# Judges the options, and what the machine must have; `ports` are taken from --port on.
check_options() {
    local ports=$1 number
    [[ $rounds =~ ^[1-9][0-9]?$ ]] || fail "--rounds is a number from 1 to 99" '' 64
    [[ $port =~ ^[1-9][0-9]{0,4}$ ]] || fail "--port is a number" '' 64
    [[ -d $parent ]] || fail "$parent is no folder" '' 64
    (($(nproc) > 1)) || fail "this needs two CPUs: one for the gateway, one for its load"
    command -v taskset >/dev/null || fail "there is no taskset" "it comes with util-linux"
    for ((number = port; number < port + ports; number++)); do
        if is_listening "$number" 2>/dev/null; then
            fail "somebody listens on port $number" "--port takes another"
        fi
    done
}

# --- what is built, and where it works ---------------------------------------------------------

# Builds the programs, and the examples that a script asks for, into `bin`.
examples=()
build() {
    cargo build --quiet --locked --profile "$profile" --package gateway --package pki \
        --package audit --package benches --bins "${examples[@]}"
    local folder=$profile
    if [[ $profile == dev ]]; then folder=debug; fi
    bin=${CARGO_TARGET_DIR:-target}/$folder
}

processes=()

# Makes the folder `dir`; at the end it is gone, and with it whatever stands in `processes`.
make_folder() {
    dir=$(mktemp -d -p "$parent" phigate-bench.XXXXXX)
    trap finish EXIT
    trap 'exit 1' INT TERM
}

finish() {
    local process
    for process in "${processes[@]}"; do kill "$process" 2>/dev/null || true; done
    for process in "${processes[@]}"; do wait "$process" 2>/dev/null || true; done
    if [[ -n $keep ]]; then echo "kept: $dir" >&2; else rm -rf "$dir"; fi
}

# Waits for a condition, at most ten seconds, as long as a process lives.
until_true() {
    local process=$1 tries=0
    shift
    until "$@" 2>/dev/null; do
        kill -0 "$process" 2>/dev/null || return 1
        ((++tries < 200)) || return 1
        sleep 0.05
    done
}

is_listening() { (exec 3<>"/dev/tcp/127.0.0.1/$1"); }

# --- certificates and the backend --------------------------------------------------------------

issue() {
    "$bin/pki" issue --dir "$dir/pki" --new-key "$@" >/dev/null 2>>"$dir/pki.txt" ||
        fail "pki issue: $(tail -1 "$dir/pki.txt")"
}

make_certificates() {
    "$bin/pki" init --dir "$dir/pki" --name "phigate bench" >/dev/null
    issue --profile server --dns localhost --ip 127.0.0.1 --out "$dir/server"
    issue --profile device --id urn:example:pump-1 --out "$dir/device"
}

# Starts the backend on CPU 1; `backend` is its address, `backend_pid` its process.
start_backend() {
    "$bin/load" backend --listen 127.0.0.1:0 --pin 1 >"$dir/backend.txt" &
    backend_pid=$!
    processes+=("$backend_pid")
    until_true "$backend_pid" grep -q listening "$dir/backend.txt" ||
        fail "the backend does not start"
    backend=$(sed -n 's/^listening on //p' "$dir/backend.txt")
}

# --- the gateway -------------------------------------------------------------------------------

# Makes the folder NAME in `dir`: a gateway on a port, with its log, durable or buffered, whose one
# route reads FHIR or does not. What was there is gone: keys sign one log and no other.
configure_gateway() {
    local name=$1 on=$2 durability=$3 fhir=$4
    rm -rf "${dir:?}/$name"
    mkdir "$dir/$name"
    "$bin/audit" keygen --name "bench.invalid/$name" --out "$dir/$name" >/dev/null
    cat >"$dir/$name/gateway.toml" <<END
[workers]
count = 1

[audit]
directory  = "audit"
keys       = "file:audit.keys"
readers    = ["reader.pem"]
durability = "$durability"
rationale  = "a bench; what it measures is the disk that it was given"

[admin]
listen = "off"

[trust.devices]
roots      = ["../pki/trust.pem"]
revocation = { crls = ["../pki/crl/"] }
identity   = "san-uri"

[certificates.server]
chain = "../server/chain.pem"
key   = "file:../server/key.pem"

[listeners.devices]
listen       = ["127.0.0.1:$on"]
tls          = "modern"
certificates = ["server"]
clients      = { certificates = "required", trust = "devices" }

[listeners.devices.limits]
connections             = 8192
connections_per_address = 8192

[roles.pump]
clients = ["urn:example:pump-*"]

[upstreams.backend]
servers     = ["http://$backend"]
connections = 512
rationale   = "the backend of the bench, on loopback, holds no ePHI"

[[routes]]
name       = "all"
listeners  = ["devices"]
hosts      = ["localhost"]
path       = "/"
methods    = ["GET", "POST"]
allow      = ["pump"]
upstream   = "backend"
fhir       = $fhir
END
}

# Starts the gateway of the folder NAME on CPU 0; `gateway_pid` is its process.
start_gateway() {
    local name=$1 on=$2
    "$bin/gateway" check --quiet --config "$dir/$name/gateway.toml" || fail "the configuration is not good"
    taskset -c 0 "$bin/gateway" run --config "$dir/$name/gateway.toml" 2>"$dir/$name/gateway.txt" &
    gateway_pid=$!
    processes+=("$gateway_pid")
    until_true "$gateway_pid" is_listening "$on" ||
        fail "the gateway does not start: $(tail -1 "$dir/$name/gateway.txt")"
}

# Ends it, and judges the log that it wrote; the verdict stands in verify.txt of its folder.
stop_gateway() {
    local name=$1 process=$2
    forget "$process"
    kill -TERM "$process"
    wait "$process" || fail "the gateway did not end well: $(tail -1 "$dir/$name/gateway.txt")"
    "$bin/audit" verify "$dir/$name/audit" >"$dir/$name/verify.txt" 2>&1 ||
        fail "audit verify: $(tail -1 "$dir/$name/verify.txt")"
}

# A process that will have ended by itself.
forget() {
    local process left=()
    for process in "${processes[@]}"; do
        if [[ $process != "$1" ]]; then left+=("$process"); fi
    done
    processes=("${left[@]}")
}

# --- what figures are read with ----------------------------------------------------------------

# One run of the load generator, as the one device, on CPU 1: its JSON report.
measure() {
    local workload=$1 on=$2 process=$3 client=(--cert "$dir/device/chain.pem" --key "$dir/device/key.pem")
    shift 3
    if [[ " $* " == *" --clients "* ]]; then client=(); fi
    "$bin/load" "$workload" --to "127.0.0.1:$on" --ca "$dir/device/trust.pem" "${client[@]}" \
        --seconds "$seconds" --server-pid "$process" --pin 1 --json "$@" ||
        fail "load $workload: see the words above"
}

load_average() { cut -d' ' -f1 /proc/loadavg; }

machine() {
    local cpu medium
    medium=$(findmnt -no FSTYPE -T "$dir" 2>/dev/null || stat -f -c %T "$dir")
    cpu=$(sed -n 's/^model name[[:space:]]*: //p' /proc/cpuinfo | head -1)
    echo "$cpu, $(nproc) CPUs, Linux $(uname -r), logs on $medium"
}

# What the generator warns of, and how often, in a file of reports.
warnings() {
    if grep -q '"warnings"' "$1"; then
        echo
        grep -o '"warnings":\[[^]]*\]' "$1" | sort | uniq -c
    fi
}
