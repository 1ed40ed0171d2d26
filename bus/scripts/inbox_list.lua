-- A page of a person's inbox, newest first: notifications with what became of them, and how many are unread.
--
-- KEYS  1 inbox, 2 meta, 3 unread, 4 archived; also reads bodies under ARGV[5], which carry the same hash tag
-- ARGV  1 epoch to use where the inbox has none, 2 the page begins below this offset ("+": at the newest), 3 which:
--       "current" (not archived), "all", "unread" or "archived", 4 most notifications wanted (0: only the numbers),
--       5 prefix of body keys, 6 ttl of meta (s), 7 most entries looked at, 8 most bytes of publications, unless the
--       first alone has more
-- Returns  {epoch, top, how many are unread, how many of these are unseen, where to go on ("": there is nothing more),
--          {offset, "1" when it is read, "1" when it is archived, "1" when it was seen, publication}, …}
-- Atomic because marks and entries must belong to the same moment; and what is unread but no longer there is forgotten
-- before it is counted.
local log, meta, unread, archived = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local which, wanted, look, room = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[7]), tonumber(ARGV[8])
--#include position
local generation = generation_of(meta)
local epoch, top, gen, seen = unpack(redis.call('HMGET', meta, 'epoch', 'top', 'gen', 'seen'))
if not epoch then
  -- A log without a position is from before the position was lost: its offsets mean nothing now.
  redis.call('DEL', log, unread, archived)
  epoch, top = ARGV[1], 0
  begin_epoch(generation, meta, epoch)
else
  epoch = epoch_in(generation, meta, log, epoch, top, gen)
end
redis.call('EXPIRE', meta, ARGV[6])
seen = tonumber(seen or 0)

local function publication(entry)
  if #entry[2] > 2 then return nil end -- a state publication
  return redis.call('HGET', ARGV[5] .. entry[2][2], 'pub')
end

local function at(offset) return redis.call('XRANGE', log, offset .. '-0', offset .. '-0')[1] end

-- Marks below the oldest entry, and of bodies whose time is over: these go oldest first.
local function prune(marks)
  local oldest = redis.call('XRANGE', log, '-', '+', 'COUNT', 1)[1]
  if not oldest then return redis.call('DEL', marks) end
  redis.call('ZREMRANGEBYSCORE', marks, '-inf', '(' .. string.match(oldest[1], '^%d+'))
  for _ = 1, 20 do
    local offset = redis.call('ZRANGE', marks, 0, 0)[1]
    local entry = offset and at(offset)
    if not offset or (entry and publication(entry)) then return end
    redis.call('ZREM', marks, offset)
  end
end

-- The next entries below an offset, and the offset of the last one looked at ("" when that was the oldest).
local function from_log(before)
  local found = redis.call('XREVRANGE', log, before == '+' and '+' or '(' .. before .. '-0', '-', 'COUNT', look)
  return found, #found == look and string.match(found[#found][1], '^%d+') or ''
end

local function from_marks(marks, before)
  local found = {}
  local offsets = redis.call('ZREVRANGEBYSCORE', marks, before == '+' and '+inf' or '(' .. before, '-inf', 'LIMIT', 0, look)
  for _, offset in ipairs(offsets) do
    local entry = at(offset)
    if entry then
      found[#found + 1] = entry
    else
      redis.call('ZREM', marks, offset)
    end
  end
  return found, #offsets == look and offsets[#offsets] or ''
end

prune(unread)
-- As in inbox_change.lua.
if redis.call('EXISTS', unread) == 0 then redis.call('HDEL', meta, 'kept') end
prune(archived)
local out = {epoch, tonumber(top), redis.call('ZCARD', unread), redis.call('ZCOUNT', unread, '(' .. seen, '+inf'), ''}
if wanted == 0 then return out end

local entries
if which == 'unread' or which == 'archived' then
  entries, out[5] = from_marks(which == 'unread' and unread or archived, ARGV[2])
else
  entries, out[5] = from_log(ARGV[2])
end
for i, entry in ipairs(entries) do
  local offset, content = string.match(entry[1], '^%d+'), publication(entry)
  local away = redis.call('ZSCORE', archived, offset) and '1' or '0'
  if content and (which ~= 'current' or away == '0') then
    room = room - #content
    if room < 0 and #out > 5 then
      out[5] = string.format('%.0f', out[#out][1])
      break
    end
    local read = redis.call('ZSCORE', unread, offset) and '0' or '1'
    local shown = (read == '1' or tonumber(offset) <= seen) and '1' or '0'
    out[#out + 1] = {tonumber(offset), read, away, shown, content}
    if #out == 5 + wanted then
      if i < #entries then out[5] = offset end
      break
    end
  end
end
return out
