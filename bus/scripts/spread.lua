-- Begin a walk over those of a partition who follow a topic durably, for one event.
--
-- KEYS  1 withdrawn, 2 body, 3 bulk, 4 members
-- ARGV  1 event without its audience, 2 when its time is over (Unix ms), 3 ttl of the body (s), then the fields of the
--       walk: field, value, …
-- Returns  1, or 0 when nobody here gets it: the event is withdrawn, or nobody here follows the topic
-- Atomic because the walk finds the event in the body: without one it would find nothing and be over.
if redis.call('EXISTS', KEYS[1]) == 1 or redis.call('EXISTS', KEYS[4]) == 0 then return 0 end
-- What it said first is what it says, as in publish.lua.
redis.call('HSETNX', KEYS[2], 'e', ARGV[1])
if tonumber(redis.call('HGET', KEYS[2], 'x') or 0) < tonumber(ARGV[2]) then redis.call('HSET', KEYS[2], 'x', ARGV[2]) end
if redis.call('TTL', KEYS[2]) < tonumber(ARGV[3]) then redis.call('EXPIRE', KEYS[2], ARGV[3]) end
redis.call('XADD', KEYS[3], '*', unpack(ARGV, 4))
return 1
