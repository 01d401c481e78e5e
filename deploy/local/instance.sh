# shellcheck shell=bash
# Functions for a private instance of RabbitMQ or MariaDB, sourced by `rabbitmq` and `mariadb`. An
# instance is a folder that holds all its files, loopback ports that the folder records, and
# processes that carry a mark.

say() { printf '%s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# open_instance DIR: sets $dir, and locks the instance until this script ends.
open_instance() {
  (umask 077 && mkdir -p -- "$1")
  dir=$(cd -- "$1" && pwd -P)
  exec 8>"$dir/lock"
  flock 8
}

# Each process of an instance has LOCAL_INSTANCE=<its folder> in its environment. So a pid that the
# system has reused is recognised, and a process whose pid was not recorded is found.
is_ours() { grep -qszxF -- "LOCAL_INSTANCE=$dir" "/proc/$1/environ"; }
members() { grep -lszxF -- "LOCAL_INSTANCE=$dir" /proc/[0-9]*/environ | cut -d/ -f3; }

# Prints the pid in $dir/pid, if that process runs and belongs to the instance.
running() {
  local pid
  pid=$(cat "$dir/pid" 2>/dev/null) && [[ -n $pid ]] && is_ours "$pid" && echo "$pid"
}

port_is_free() { ! (: <>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
ports_are_free() {
  local n
  for ((n = $1; n < $1 + $2; n++)); do port_is_free "$n" || return 1; done
}

# choose_ports COUNT: sets $port to the first of COUNT free ports in a row. It takes the ports of
# the last time if they are free.
choose_ports() {
  port=$(cat "$dir/port" 2>/dev/null || true)
  if [[ -n $port ]]; then
    ports_are_free "$port" "$1" && return
    say "Another process uses a port of $dir (from $port on). Choosing other ports."
  fi
  # Below 32768, where the system takes no ports for outgoing connections. The first candidate
  # depends on the pid, since instances that start at the same moment cannot see each other's ports.
  port=$((20000 + $$ % 1500 * 8))
  until ports_are_free "$port" "$1"; do port=$((20000 + (port - 20000 + 509 * 8) % 12000)); done
  echo "$port" >"$dir/port"
}

recall_port() { port=$(cat "$dir/port" 2>/dev/null) || die "$1 has never been started"; }

# daemon COMMAND…: starts the command in the background and sets $child. It gets its own session and
# no open files, so a closed terminal does not end it, and it holds neither the caller's pipe nor a
# lock. It gets its own environment, so settings for a server of the system do not reach it.
daemon() {
  (
    for fd in "/proc/$BASHPID/fd"/*; do
      fd=${fd##*/}
      ((fd <= 2)) || eval "exec $fd>&-"
    done
    cd "$dir" || exit
    exec setsid env -i "LOCAL_INSTANCE=$dir" "HOME=$dir" PATH=/usr/sbin:/usr/bin:/sbin:/bin \
      LANG=C.UTF-8 "$@" </dev/null >>"$dir/log" 2>&1
  ) &
  child=$!
}

# adopt CHECK…: if the instance runs, waits until CHECK succeeds. Fails if the instance does not run
# or ends meanwhile: a process that was just killed is visible for a moment.
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

# await CHECK…: waits until CHECK succeeds. If $child ends or 90 s pass, shows the log and exits
# with 1.
await() {
  local deadline=$((SECONDS + 90))
  until "$@"; do
    kill -0 "$child" 2>/dev/null || give_up 'ended during its start'
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

# Asks the server to stop, then ends all other processes of the instance.
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
