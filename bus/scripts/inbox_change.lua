-- Mark notifications of a person read, unread, archived, not archived, or seen, and tell all of their devices by one
-- state publication in the inbox. What is so already is left alone, and where nothing changes nothing is told.
--
-- KEYS  1 inbox, 2 meta, 3 unread, 4 archived, 5 routes, 6 trail; also bodies under ARGV[3] and counts under ARGV[4],
--       which carry the same hash tag
-- ARGV  1 what: "read", "unread", "archived", "unarchived" or "seen", 2 up to this offset ("": those listed; only for
--       "read", oldest first, and "seen"), 3 prefix of body keys, 4 prefix of counts keys, 5 id of the state publication,
--       6 the time now as publications say it, 7 ttl of inbox and trail (s), 8 inbox size, 9 trail size,
--       10 most notifications at a time; then offsets
-- Returns  {how many are unread, how many of these are unseen, 1 when there is more to do "up to" else 0,
--          offset of the state publication (0: nothing changed), epoch, the publication, node, …}
-- Atomic because marks, numbers and the publication that tells of them must agree on all devices.
local log, meta, unread, archived, routes, trail = unpack(KEYS)
local what, up_to, bodies, ttl, most = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[7]), tonumber(ARGV[10])
--#include position
local epoch, top, seen, gen = unpack(redis.call('HMGET', meta, 'epoch', 'top', 'seen', 'gen'))
if not epoch then return {0, 0, 0, 0, '', ''} end
epoch = epoch_in(generation_of(meta), meta, log, epoch, top, gen)
seen = tonumber(seen or 0)

local function at(offset) return redis.call('XRANGE', log, offset .. '-0', offset .. '-0')[1] end

-- The reference of a notification that is there; a state publication is none.
local function ref_of(offset)
  local entry = at(offset)
  if not entry or #entry[2] > 2 or redis.call('HEXISTS', bodies .. entry[2][2], 'pub') == 0 then return nil end
  return entry[2][2]
end

-- Marks below the oldest entry, and of bodies whose time is over: these go oldest first.
local function prune(marks)
  local oldest = redis.call('XRANGE', log, '-', '+', 'COUNT', 1)[1]
  if not oldest then return redis.call('DEL', marks) end
  redis.call('ZREMRANGEBYSCORE', marks, '-inf', '(' .. string.match(oldest[1], '^%d+'))
  for _ = 1, 20 do
    local offset = redis.call('ZRANGE', marks, 0, 0)[1]
    if not offset or ref_of(offset) then return end
    redis.call('ZREM', marks, offset)
  end
end

local function note(ref, kind, by)
  redis.call('XADD', trail, 'MAXLEN', '~', ARGV[9], '*', 'e', ref, 'k', kind, 'c', '', 'r', '', 'n', '0')
  local counts = ARGV[4] .. ref
  if by ~= 0 and tonumber(redis.call('HGET', counts, 'read') or 0) + by >= 0 then
    if redis.call('HINCRBY', counts, 'read', by) == 1 and redis.call('TTL', counts) < 0 then
      redis.call('EXPIRE', counts, ttl)
    end
  end
end

-- Each marks one notification and gives back whether that changed anything.
local mark = {}

function mark.read(offset)
  if redis.call('ZREM', unread, offset) == 0 then return false end
  local ref = ref_of(offset)
  if ref then note(ref, 'read', 1) end
  return true
end

function mark.unread(offset)
  local ref = ref_of(offset)
  if not ref or redis.call('ZADD', unread, offset, offset) == 0 then return false end
  note(ref, 'unread', -1)
  return true
end

function mark.archived(offset)
  local ref = ref_of(offset)
  if not ref or redis.call('ZADD', archived, offset, offset) == 0 then return false end
  note(ref, 'archived', redis.call('ZREM', unread, offset))
  return true
end

function mark.unarchived(offset)
  if redis.call('ZREM', archived, offset) == 0 then return false end
  local ref = ref_of(offset)
  if ref then note(ref, 'unarchived', 0) end
  return true
end

-- The newest notification up to an offset, if it was not seen: state publications are nothing to see.
local function newest(offset)
  local from = string.format('%.0f', offset)
  while true do
    local entries = redis.call('XREVRANGE', log, from, '(' .. string.format('%.0f', seen), 'COUNT', 100)
    for _, entry in ipairs(entries) do
      if #entry[2] == 2 then return string.match(entry[1], '^%d+') end
    end
    if #entries < 100 then return nil end
    from = '(' .. entries[#entries][1]
  end
end

prune(unread)
prune(archived)
local changed, more = {}, 0
if what == 'seen' then
  local offset = newest(math.min(tonumber(up_to), 9007199254740991))
  if offset then
    redis.call('HSET', meta, 'seen', offset)
    seen = tonumber(offset)
    changed[1] = offset
  end
else
  local offsets = {unpack(ARGV, 11)}
  if up_to ~= '' then
    offsets = redis.call('ZRANGEBYSCORE', unread, '-inf', up_to, 'LIMIT', 0, most)
    if #offsets == most then more = 1 end
  end
  for _, offset in ipairs(offsets) do
    if mark[what](offset) then changed[#changed + 1] = offset end
  end
end

local left, unseen = redis.call('ZCARD', unread), redis.call('ZCOUNT', unread, '(' .. string.format('%.0f', seen), '+inf')
-- What is empty is gone, its time to live with it; the next publication gives it one again.
if left == 0 then redis.call('HDEL', meta, 'kept') end
if #changed == 0 then return {left, unseen, 0, 0, epoch, ''} end
for _, key in ipairs({unread, archived, trail}) do redis.call('EXPIRE', key, ttl) end

-- The position may lag behind its log: the top is the larger of the two.
local last = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)[1]
top = math.max(tonumber(top), last and tonumber(string.match(last[1], '^%d+')) or 0)
local offset = string.format('%.0f', top + 1)
local listed = table.concat(changed, ',')
if what ~= 'seen' then listed = '[' .. listed .. ']' end
local publication = string.format(
  '"data":{"id":"%s","type":"tocsin.state","data":{"%s":%s,"unread_count":%d,"unseen_count":%d},"created_at":"%s"}',
  ARGV[5], what, listed, left, unseen, ARGV[6])
redis.call('HSET', bodies .. 'tocsin/' .. ARGV[5], 'pub', publication)
redis.call('EXPIRE', bodies .. 'tocsin/' .. ARGV[5], ttl)
redis.call('XADD', log, 'MAXLEN', ARGV[8], offset .. '-0', 'b', 'tocsin/' .. ARGV[5], 's', '1')
redis.call('EXPIRE', log, ttl)
redis.call('HSET', meta, 'top', offset)
redis.call('EXPIRE', meta, ttl + 2592000)
return {left, unseen, more, tonumber(offset), epoch, publication, unpack(redis.call('HKEYS', routes))}
