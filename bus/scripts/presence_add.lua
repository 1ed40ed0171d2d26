-- Note that a client is in a topic, or is still there.
--
-- KEYS  1 presence, 2 presence_expiry
-- ARGV  1 ttl (ms), then client id, info, client id, info, …
-- Returns  how many of them were not there before
-- Atomic because a client in one key and not the other would never expire, or never show.
local time = redis.call('TIME')
local expiry = time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[1]
local new = 0
for i = 2, #ARGV, 2 do
  new = new + redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
  redis.call('ZADD', KEYS[2], expiry, ARGV[i])
end
redis.call('PEXPIRE', KEYS[1], 2 * ARGV[1])
redis.call('PEXPIRE', KEYS[2], 2 * ARGV[1])
return new
