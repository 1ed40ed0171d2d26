-- Take the next entries of a partition: what is pending first, and only when nothing is, new ones.
--
-- KEYS  1 lease, 2 events, 3 head
-- ARGV  1 owner, 2 fencing number, 3 group, 4 consumer (constant per partition), 5 most entries; fewer where they are
--       large
-- Returns  {attempts of the first entry, 1 when the entries were pending else 0, id of the newest entry known (the last
--          of these, or the stream's newest when there are none), {id, {field, value, …}}, …}, or the error FENCED when
--          the lease is lost
-- Atomic because an owner that was paused must not take an entry that its successor is working.
if redis.call('GET', KEYS[1]) ~= ARGV[1] .. ' ' .. ARGV[2] then return redis.error_reply('FENCED lease lost') end

local function read(from, count)
  return redis.pcall('XREADGROUP', 'GROUP', ARGV[3], ARGV[4], 'COUNT', count, 'STREAMS', KEYS[2], from)
end

local most, enough = tonumber(ARGV[5]), 262144
local first = math.min(10, most)

-- The entries after those found first, as many as are wanted and as make some hundred kilobytes together: Redis is held
-- for a few milliseconds, however large they are. In steps of as many as that will be by those read so far.
local function fill(entries, more_from)
  local bytes, looked, got, asked = 0, 0, #entries, first
  while got == asked and #entries < most do
    for i = looked + 1, #entries do
      for _, part in ipairs(entries[i][2] or {}) do bytes = bytes + #part end
    end
    looked = #entries
    asked = math.min(most - looked, math.floor((enough - bytes) / math.max(1, bytes / looked)))
    if asked < 1 then return end
    local found = read(more_from or entries[looked][1], asked)
    if not found or found.err then return end
    got = #found[1][2]
    for _, entry in ipairs(found[1][2]) do entries[#entries + 1] = entry end
  end
end

local function newest()
  if redis.call('EXISTS', KEYS[2]) == 0 then return nil end
  local last = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]
  return last and last[1]
end

local function parts(id)
  local high, low = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(high), tonumber(low)
end

-- Where a group that is gone begins again: at the last checkpoint, for `$` would lose what waits and `0` would repeat
-- all that is kept. But a stream whose newest entry lies before the checkpoint was made anew: all of it is new.
local function checkpoint()
  local acked = redis.call('HGET', KEYS[3], 'acked')
  local last = newest()
  if not acked or not last then return '0' end
  local high, low = parts(last)
  local acked_high, acked_low = parts(acked)
  if high < acked_high or (high == acked_high and low < acked_low) then return '0' end
  return acked
end

local found, anew = read('0', first), false
if found and found.err then
  if not string.find(found.err, 'NOGROUP', 1, true) then return found end
  redis.call('XGROUP', 'CREATE', KEYS[2], ARGV[3], checkpoint(), 'MKSTREAM')
  found, anew = read('0', first), true
end
local pending = 1
if not found or (not found.err and #found[1][2] == 0) then
  pending = 0
  found = read('>', first)
end
if not found then return {0, 0, newest() or '0-0'} end
if found.err then return found end

local entries = found[1][2]
fill(entries, pending == 0 and '>')
local out = {0, pending, entries[#entries][1]}
for _, entry in ipairs(entries) do
  -- A pending entry that was trimmed comes without fields; an empty list says so.
  out[#out + 1] = {entry[1], entry[2] or {}}
end
-- What has failed before is pending, unless the group was lost.
if (pending == 1 or anew) and redis.call('HGET', KEYS[3], 'entry') == entries[1][1] then
  out[1] = tonumber(redis.call('HGET', KEYS[3], 'attempts'))
end
return out
