# shellcheck shell=bash
# What a private instance is, be it RabbitMQ or MariaDB: a folder that holds all of it, loopback ports that are kept in
# that folder, and processes that carry a mark. Sourced by `rabbitmq` and `mariadb`.

say() { printf '%s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# open_instance DIR: sets $dir, and keeps everybody else out of it until this script ends.
open_instance() {
  (umask 077 && mkdir -p -- "$1")
  dir=$(cd -- "$1" && pwd -P)
  exec 8>"$dir/lock"
  flock 8
}

# Each process of an instance has LOCAL_INSTANCE=<its folder> in its environment. So a pid that the system has since
# given to somebody else is not taken for ours, and a process whose pid was not recorded is found all the same.
is_ours() { grep -qszxF -- "LOCAL_INSTANCE=$dir" "/proc/$1/environ"; }
members() { grep -lszxF -- "LOCAL_INSTANCE=$dir" /proc/[0-9]*/environ | cut -d/ -f3; }

# The pid in $dir/pid, if that process lives and is ours.
running() {
  local pid
  pid=$(cat "$dir/pid" 2>/dev/null) && [[ -n $pid ]] && is_ours "$pid" && echo "$pid"
}

port_is_free() { ! (: <>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
ports_are_free() {
  local n
  for ((n = $1; n < $1 + $2; n++)); do port_is_free "$n" || return 1; done
}

# choose_ports COUNT: sets $port to the first of that many free ports in a row: those of last time, if they still are.
choose_ports() {
  port=$(cat "$dir/port" 2>/dev/null || true)
  if [[ -n $port ]]; then
    ports_are_free "$port" "$1" && return
    say "Another process has taken a port of $dir (from $port on); choosing others"
  fi
  # Below 32768, where the system does not take ports for outgoing connections. From our pid, since instances that
  # start at the same moment cannot yet see each other's ports, but never have the same pid.
  port=$((20000 + $$ % 1500 * 8))
  until ports_are_free "$port" "$1"; do port=$((20000 + (port - 20000 + 509 * 8) % 12000)); done
  echo "$port" >"$dir/port"
}

recall_port() { port=$(cat "$dir/port" 2>/dev/null) || die "$1 has never been started"; }

# daemon COMMAND…: starts it apart from this shell and sets $child. It has a session of its own and none of our open
# files, so that a closed terminal does not end it and it holds neither the caller's pipe nor a lock; and it has an
# environment of its own, so that settings for a server of the system do not reach it.
daemon() {
  (
    for fd in "/proc/$BASHPID/fd"/*; do
      fd=${fd##*/}
      ((fd <= 2)) || eval "exec $fd>&-"
    done
    cd "$dir" || exit
    exec setsid env -i "LOCAL_INSTANCE=$dir" "HOME=$dir" PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 "$@" \
      </dev/null >>"$dir/log" 2>&1
  ) &
  child=$!
}

# adopt CHECK…: waits until it succeeds, if the instance runs. Fails when it does not run, or ends meanwhile: one that
# was just killed can be seen for a moment.
adopt() {
  local deadline=$((SECONDS + 90))
  while running >/dev/null; do
    recall_port "$dir"
    "$@" && return
    ((SECONDS < deadline)) || give_up 'runs, but has not answered for 90 s'
    sleep 0.2
  done
  return 1
}

# await CHECK…: waits until it succeeds. Once $child has ended or 90 s have passed: shows the log and gives up.
await() {
  local deadline=$((SECONDS + 90))
  until "$@"; do
    kill -0 "$child" 2>/dev/null || give_up 'ended while it was starting'
    ((SECONDS < deadline)) || give_up 'does not answer after 90 s'
    sleep 0.2
  done
}

give_up() {
  say "${0##*/} in $dir $1. The end of $dir/log:"
  tail -n 20 "$dir/log" >&2 || true
  stop_instance
  exit 1
}

# Asks the server to end, then ends whatever else of the instance is left.
stop_instance() {
  local pid pids signal deadline
  if pid=$(running); then
    kill "$pid" || true
    deadline=$((SECONDS + 30))
    while is_ours "$pid" && ((SECONDS < deadline)); do sleep 0.1; done
  fi
  for signal in TERM KILL; do
    deadline=$((SECONDS + 10))
    while mapfile -t pids < <(members) && ((${#pids[@]} && SECONDS < deadline)); do
      kill "-$signal" "${pids[@]}" 2>/dev/null || true
      sleep 0.1
    done
  done
  rm -f "$dir/pid"
}
