-- Take the next entries of a partition: what is pending first, and only when nothing is, new ones.
--
-- KEYS  1 lease, 2 events, 3 head
-- ARGV  1 owner, 2 fencing number, 3 group, 4 consumer (constant per partition), 5 most entries
-- Returns  {attempts of the first entry, {id, {field, value, …}}, …}, or the error FENCED when the lease is lost
-- Atomic because an owner that was paused must not take an entry that its successor is working.
if redis.call('GET', KEYS[1]) ~= ARGV[1] .. ' ' .. ARGV[2] then return redis.error_reply('FENCED lease lost') end
local function read(from)
  return redis.pcall('XREADGROUP', 'GROUP', ARGV[3], ARGV[4], 'COUNT', ARGV[5], 'STREAMS', KEYS[2], from)
end
local found = read('0')
if type(found) == 'table' and found.err then
  if not string.find(found.err, 'NOGROUP') then return found end
  -- From the last checkpoint: `$` would lose what waits, `0` would repeat all that is kept.
  redis.call('XGROUP', 'CREATE', KEYS[2], ARGV[3], redis.call('HGET', KEYS[3], 'acked') or '0', 'MKSTREAM')
  found = read('0')
end
if not found or #found[1][2] == 0 then found = read('>') end
if not found then return {0} end
if found.err then return found end
local out = {0}
for _, entry in ipairs(found[1][2]) do
  -- A pending entry that was trimmed comes without fields; an empty list says so.
  out[#out + 1] = {entry[1], entry[2] or {}}
end
if out[2] and redis.call('HGET', KEYS[3], 'entry') == out[2][1] then
  out[1] = tonumber(redis.call('HGET', KEYS[3], 'attempts'))
end
return out
