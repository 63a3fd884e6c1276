#!/bin/sh
# Makes what compose.yaml mounts as secrets, once: the root secret, the password, rights and certificate
# of Redis, and an empty key file. Nobody but you enters the folder; its files can be read, because
# the users in the containers are others.
set -eu
umask 077
cd "$(dirname "$0")"
if [ -e secrets ]; then exit 0; fi
rm -rf secrets.new
mkdir -p secrets.new/access
cd secrets.new

openssl rand -base64 32 >root
password=$(openssl rand -hex 32)
printf 'rediss://gatehouse:%s@redis:6379\n' "$password" >redis-url

# The rights of docs/shared-store.md, and one user who can do nothing but ask whether Redis is there.
printf '%s\n' \
  'user default off' \
  'user health on nopass resetkeys resetchannels -@all +ping' \
  "user gatehouse on #$(printf %s "$password" | openssl dgst -sha256 -r | cut -d' ' -f1) resetkeys resetchannels &gatehouse:v1:events -@all ~gatehouse:v1:limit:* ~gatehouse:v1:once:* ~gatehouse:v1:value:* ~gatehouse:v1:keys:* %R~gatehouse:v1:deny:* +@connection +eval +get +set +del +exists +incrby +expire +pexpire +pttl +zadd +zrem +zcard +zrange +zpopmin +publish +subscribe" >redis-acl

openssl ecparam -name prime256v1 -genkey -noout -out redis.key
openssl req -x509 -key redis.key -out redis.crt -days 825 -subj /CN=redis \
  -addext 'subjectAltName=DNS:redis,DNS:localhost' -addext 'basicConstraints=critical,CA:FALSE' 2>/dev/null

printf '{"keys":[]}\n' >access/keys.json
chmod 755 access
chmod 444 root redis-url redis-acl redis.key redis.crt access/keys.json
cd ..
mv secrets.new secrets
