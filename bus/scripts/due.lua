-- Move scheduled events whose time has come to the partition's ingest stream.
--
-- KEYS  1 lease, 2 events, 3 timers (members: event\n<id of the entry it came in>\n<producer>\n<event as JSON>)
-- ARGV  1 owner, 2 fencing number, 3 most events moved at a time
-- Returns  milliseconds until the next one by Redis's clock, 0 when more are due now, -1 when there is none; or the
--          error FENCED when the lease is lost
-- Atomic because a crash between the two would lose the event or send it twice.
if redis.call('GET', KEYS[1]) ~= ARGV[1] .. ' ' .. ARGV[2] then return redis.error_reply('FENCED lease lost') end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for _, timer in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', now, 'LIMIT', 0, ARGV[3])) do
  local entry, producer, event = string.match(timer, '^event\n([^\n]*)\n([^\n]*)\n(.*)$')
  -- `d` says that its time has come, so that a worker whose clock lags behind does not schedule it again.
  if event then redis.call('XADD', KEYS[2], '*', 'p', producer, 'd', entry, 'e', event) end
  redis.call('ZREM', KEYS[3], timer)
end
local next = redis.call('ZRANGE', KEYS[3], 0, 0, 'WITHSCORES')
if not next[2] then return -1 end
return math.max(0, math.ceil(tonumber(next[2]) - now))
