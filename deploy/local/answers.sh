# shellcheck shell=bash
# Whether a broker or a database answers at a URL. No client is needed: the first bytes of the protocol tell.

# endpoint URL: its host and port, and nothing that is secret
endpoint() {
  local rest=${1#*://} host port
  case $1 in
    amqp:*) port=5672 ;;
    amqps:*) port=5671 ;;
    *) port=3306 ;;
  esac
  rest=${rest%%[/?#]*}
  rest=${rest##*@}
  if [[ $rest == \[* ]]; then
    host=${rest%%]*}]
  else
    host=${rest%%:*}
  fi
  rest=${rest#"$host"}
  rest=${rest#:}
  host=${host#[}
  echo "${host%]} ${rest:-$port}"
}

# first_bytes HOST PORT COUNT [REQUEST]: that many bytes of what comes back, in hex
first_bytes() {
  # shellcheck disable=SC2016 # the inner shell expands them
  timeout 5 bash -c 'exec 3<>"/dev/tcp/$1/$2" && printf "${4-}" >&3 && head -c "$3" <&3 | od -An -tx1' \
    - "$@" 2>/dev/null
}

connects() {
  # shellcheck disable=SC2016
  timeout 5 bash -c ': <>"/dev/tcp/$1/$2"' - "$@" 2>/dev/null
}

# A broker answers the protocol's header with a method frame (type 1) on channel 0: Connection.Start.
amqp_answers() {
  local host port
  read -r host port < <(endpoint "$1")
  if [[ $1 == amqps:* ]]; then
    connects "$host" "$port" # TLS: somebody listens; more would need a client
  else
    [[ $(first_bytes "$host" "$port" 3 'AMQP\0\0\11\1') == ' 01 00 00' ]]
  fi
}

# A database greets first: the length in three bytes, number 0, and version 10 of the protocol (ff: it refuses us).
mysql_answers() {
  local host port
  read -r host port < <(endpoint "$1")
  [[ $(first_bytes "$host" "$port" 5) == *' 00 0a' ]]
}
