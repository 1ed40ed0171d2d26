-- Keep that something is revoked, and let go of what is over.
--
-- KEYS  1 revoked, 2 revoked_until, 3 revoked_version
-- ARGV  1 the next version, 2 most that are kept, 3 name, 4 until (ms), 5 value
-- Returns  {version before, version now, "until value" as it is kept now}, or {} when there is no room
-- Atomic because a node that knows the version before and is told of this change knows the version now. Of two values
-- that are numbers the larger holds, of two times the later: a repeat changes nothing.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local over = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, 100)
if #over > 0 then
  redis.call('ZREM', KEYS[2], unpack(over))
  redis.call('HDEL', KEYS[1], unpack(over))
end
local version = redis.call('GET', KEYS[3]) or ''
local kept = redis.call('HGET', KEYS[1], ARGV[3])
local ends, value = ARGV[4], ARGV[5]
if kept then
  local old_ends, old_value = string.match(kept, '^(%d+) (.*)$')
  if tonumber(old_ends) > tonumber(ends) then ends = old_ends end
  local old_number, number = tonumber(old_value), tonumber(value)
  if old_number and number and old_number > number then value = old_value end
  if kept == ends .. ' ' .. value then return {version, version, kept} end
elseif redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[2]) then
  return {}
end
kept = ends .. ' ' .. value
redis.call('HSET', KEYS[1], ARGV[3], kept)
redis.call('ZADD', KEYS[2], ends, ARGV[3])
redis.call('SET', KEYS[3], ARGV[1])
local last = redis.call('ZREVRANGE', KEYS[2], 0, 0, 'WITHSCORES')[2]
for i = 1, 3 do redis.call('PEXPIREAT', KEYS[i], string.format('%.0f', last)) end
return {version, ARGV[1], kept}
