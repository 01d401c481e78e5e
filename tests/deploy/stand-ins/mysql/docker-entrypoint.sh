#!/usr/bin/env bash
# Creates the data at the first start, with the database and the user of the environment. Arguments
# are those of the server.
set -euo pipefail
data=/var/lib/mysql
chown mysql:mysql "$data" /run/mysqld
if [[ ! -d $data/mysql ]]; then
  rm -rf "${data:?}"/*
  mysqld --no-defaults --user=mysql --datadir="$data" --initialize-insecure
  mysqld --no-defaults --user=mysql --datadir="$data" --skip-networking --mysqlx=OFF \
    --socket=/run/mysqld/first.sock &
  until mysqladmin --socket=/run/mysqld/first.sock --user=root ping --silent; do sleep 0.2; done
  mysql --socket=/run/mysqld/first.sock --user=root <<SQL
CREATE DATABASE \`$MYSQL_DATABASE\`;
CREATE USER '$MYSQL_USER'@'%' IDENTIFIED BY '$MYSQL_PASSWORD';
GRANT ALL ON \`$MYSQL_DATABASE\`.* TO '$MYSQL_USER'@'%';
ALTER USER root@localhost IDENTIFIED BY '$(od -An -N 16 -tx1 /dev/urandom | tr -d ' \n')';
SQL
  kill %1
  wait
fi
exec mysqld --no-defaults --user=mysql --datadir="$data" --mysqlx=OFF \
  --socket=/run/mysqld/mysqld.sock "$@"
