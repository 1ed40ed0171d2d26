-- Append an event that came under an Idempotency-Key, once.
--
-- KEYS  1 events, 2 accepted
-- ARGV  1 ttl of the marker (s), then field, value, …
-- Returns  {position in the stream, 1 when this call appended it else 0}
-- Atomic because a crash between the append and the marker would let a repeat append it again.
local before = redis.call('GET', KEYS[2])
if before then return {before, 0} end
local position = redis.call('XADD', KEYS[1], '*', unpack(ARGV, 2))
redis.call('SET', KEYS[2], position, 'EX', ARGV[1])
return {position, 1}
