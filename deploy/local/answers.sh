# shellcheck shell=bash
# Checks whether a broker or a database answers at a URL, by the first bytes of its protocol. That
# needs no client.

# endpoint URL: prints the host and the port, without the credentials
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

# first_bytes HOST PORT COUNT [REQUEST]: prints the first COUNT bytes of the answer, in hex
first_bytes() {
  # shellcheck disable=SC2016 # the inner shell expands them
  timeout 5 bash -c '
    exec 3<>"/dev/tcp/$1/$2" && printf "${4-}" >&3 && head -c "$3" <&3 | od -An -tx1
  ' - "$@" 2>/dev/null
}

connects() {
  # shellcheck disable=SC2016
  timeout 5 bash -c ': <>"/dev/tcp/$1/$2"' - "$@" 2>/dev/null
}

# A broker answers the protocol header with a method frame (type 1) on channel 0: Connection.Start.
amqp_answers() {
  local host port
  read -r host port < <(endpoint "$1")
  if [[ $1 == amqps:* ]]; then
    connects "$host" "$port" # TLS: checks only that the port is open; more would need a client
  else
    [[ $(first_bytes "$host" "$port" 3 'AMQP\0\0\11\1') == ' 01 00 00' ]]
  fi
}

# A database sends the first packet: the length in three bytes, the number 0, and the version of the
# protocol, 10. An ff in its place means that it refuses the connection.
mysql_answers() {
  local host port
  read -r host port < <(endpoint "$1")
  [[ $(first_bytes "$host" "$port" 5) == *' 00 0a' ]]
}
