-- A client leaves a topic.
--
-- KEYS  1 presence, 2 presence_expiry
-- ARGV  client ids
-- Returns  how many were there
-- Atomic because both keys must agree.
redis.call('ZREM', KEYS[2], unpack(ARGV))
return redis.call('HDEL', KEYS[1], unpack(ARGV))
