-- Note what a provider says later of a message that it took: that it arrived, or that it did not.
--
-- KEYS  1 trail, 2 counts of the event
-- ARGV  1 escaped reference of the event, 2 channel, 3 kind for the trail and the counts ("delivered" or "failed"),
--       4 reason, 5 ttl of trail and counts (s), 6 most entries of the trail looked at
-- Returns  1; 0 when the trail knows nothing of such a message (its person was erased), or knows its fate already
-- Atomic because providers repeat themselves, also at the same time, and each message is to be counted once.
local function field(entry, name)
  for i = 1, #entry, 2 do
    if entry[i] == name then return entry[i + 1] end
  end
end

local sent = false
for _, entry in ipairs(redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', ARGV[6])) do
  if field(entry[2], 'e') == ARGV[1] and field(entry[2], 'c') == ARGV[2] then
    local kind = field(entry[2], 'k')
    if kind == 'delivered' or kind == 'failed' then return 0 end
    sent = true
  end
end
if not sent then return 0 end
redis.call('XADD', KEYS[1], 'MAXLEN', '~', 4000, '*', 'e', ARGV[1], 'k', ARGV[3], 'c', ARGV[2], 'r', ARGV[4], 'n', 0)
redis.call('EXPIRE', KEYS[1], ARGV[5])
redis.call('HINCRBY', KEYS[2], ARGV[2] .. ':' .. ARGV[3], 1)
if redis.call('TTL', KEYS[2]) < 0 then redis.call('EXPIRE', KEYS[2], ARGV[5]) end
return 1
