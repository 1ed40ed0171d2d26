-- What is due in a partition: scheduled events are moved to its ingest stream; steps and digests stay, and are told of
-- with all that decides about them.
--
-- KEYS  1 lease, 2 events, 3 timers (members: event\n<id of the entry it came in>\n<producer>\n<event as JSON>,
--       step\n<event>\n<user>\n<index>, digest\n<user>\n<channel>\n<category>, names escaped); also reads bodies and
--       what is known of people, under the same hash tag
-- ARGV  1 owner, 2 fencing number, 3 most timers looked at, 4 most events of a digest told of
-- Returns  {milliseconds until the next timer by Redis's clock (0 when more are due now, -1 when there is none), now (Unix
--          ms), item, …}, or the error FENCED when the lease is lost. Items:
--          {"step", timer, ladder, category, when its time is over (Unix ms), withdrawn, offset, acked, read,
--          preferences, time zone, {target, …}}; the ladder is "" where the event is gone;
--          {"digest", timer, preferences, time zone, {target, …}, {entry, time over, withdrawn, acked, read}, …};
--          {"broken", timer, reason}. A target is what is there for the channel: for push, device id and device in turn,
--          else "1".
-- Atomic because a crash between taking an event and moving it would lose it or send it twice, and because what decides
-- about a step must belong to one moment.
if redis.call('GET', KEYS[1]) ~= ARGV[1] .. ' ' .. ARGV[2] then return redis.error_reply('FENCED lease lost') end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local head = string.sub(KEYS[3], 1, -7)
local contacts = {email = 'email', sms = 'phone', webhook = 'webhook'}

local function user_key(user, part) return head .. 'user:' .. user .. ':' .. part end

-- Whether an offset lies in ranges written as 3-5,9-9.
local function covered(ranges, offset)
  for low, high in string.gmatch(ranges or '', '(%d+)%-(%d+)') do
    if offset >= tonumber(low) and offset <= tonumber(high) then return 1 end
  end
  return 0
end

local function acked(user, offset)
  if offset == 0 then return 0 end
  return covered(redis.call('HGET', user_key(user, 'meta'), 'acked'), offset)
end

-- What is no longer in the inbox was not read there.
local function was_read(user, offset)
  if offset == 0 then return 0 end
  local id = string.format('%.0f-0', offset)
  if redis.call('ZSCORE', user_key(user, 'unread'), string.format('%.0f', offset)) then return 0 end
  return #redis.call('XRANGE', user_key(user, 'inbox'), id, id)
end

local function targets(user, via)
  if via == 'push' then return redis.call('HGETALL', user_key(user, 'devices')) end
  if contacts[via] and redis.call('HEXISTS', user_key(user, 'profile'), contacts[via]) == 1 then return {'1'} end
  return {}
end

local function person(user)
  local doc = redis.call('HGET', user_key(user, 'prefs'), 'doc') or ''
  return doc, redis.call('HGET', user_key(user, 'profile'), 'timezone') or ''
end

local function step(timer)
  local ref, user, index = string.match(timer, '^step\n([^\n]*)\n([^\n]*)\n(%d+)$')
  if not ref then return {'broken', timer, 'no timer of a known form'}, 1 end
  local body = redis.call('HMGET', head .. 'body:' .. ref, 'l', 'g', 'x', 'w')
  local withdrawn = redis.call('EXISTS', head .. 'withdrawn:' .. ref)
  if body[4] then withdrawn = 1 end
  local known, ladder = pcall(cjson.decode, body[1] or '')
  local rung = known and type(ladder) == 'table' and ladder[index + 1] or {}
  local name = '@' .. string.gsub(user, '%%(%x%x)', function(hex) return string.char(tonumber(hex, 16)) end)
  local offset = tonumber(redis.call('HGET', head .. 'seen:' .. ref, name) or 0)
  local doc, zone = person(user)
  local found = targets(user, rung.via)
  -- Ids and devices in turn: five devices take as long as all else.
  return {'step', timer, body[1] or '', body[2] or '', body[3] or '0', withdrawn, offset, acked(user, offset),
    was_read(user, offset), doc, zone, found}, 1 + math.floor(#found / 10)
end

local function digest(timer)
  local user, channel, category = string.match(timer, '^digest\n([^\n]*)\n([^\n]*)\n([^\n]*)$')
  if not user then return {'broken', timer, 'no timer of a known form'}, 1 end
  local doc, zone = person(user)
  local item = {'digest', timer, doc, zone, targets(user, channel)}
  local entries = redis.call('LRANGE', user_key(user, 'digest:' .. channel .. ':' .. category), 0, ARGV[4] - 1)
  for _, entry in ipairs(entries) do
    local ref, offset = string.match(entry, '^([^\n]*)\n(%d+)\n')
    offset = tonumber(offset or 0)
    local body = redis.call('HMGET', head .. 'body:' .. (ref or ''), 'e', 'x', 'w')
    local withdrawn = redis.call('EXISTS', head .. 'withdrawn:' .. (ref or ''))
    if body[3] then withdrawn = 1 end
    local over = body[1] and body[2] or '1'
    item[#item + 1] = {entry, over, withdrawn, acked(user, offset), was_read(user, offset)}
  end
  return item, 1 + #entries
end

local function move(timer)
  local entry, producer, event = string.match(timer, '^event\n([^\n]*)\n([^\n]*)\n(.*)$')
  if not event then return {'broken', timer, 'no timer of a known form'} end
  -- `d` says that its time has come, so that a worker whose clock lags behind does not schedule it again.
  redis.call('XADD', KEYS[2], '*', 'p', producer, 'd', entry, 'e', event)
  redis.call('ZREM', KEYS[3], timer)
end

local function look(timer)
  local kind = string.match(timer, '^(%l+)\n')
  if kind == 'step' then return step(timer) end
  if kind == 'digest' then return digest(timer) end
  -- Four kilobytes take as long to move as a step takes to look at.
  return move(timer), 1 + math.floor(#timer / 4096)
end

local out = {0, now}
local most, spent, from = tonumber(ARGV[3]), 0, 0
local timers = {}
repeat
  -- A few at a time: one that holds an event may be large. What stays stands before the rest.
  timers = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', now, 'LIMIT', from, 10)
  for _, timer in ipairs(timers) do
    if spent >= most then break end
    local fine, item, cost = pcall(look, timer)
    if not fine then
      local why = type(item) == 'table' and item.err or tostring(item)
      -- Only a key of the wrong type is the timer's own trouble; the rest (OOM, READONLY …) is everyone's.
      if not string.find(why, 'WRONGTYPE', 1, true) then return redis.error_reply(why) end
      item, cost = {'broken', timer, 'a key is of another type'}, 1
    end
    spent = spent + cost
    if item then
      out[#out + 1] = item
      from = from + 1
    end
  end
until #timers < 10 or spent >= most
if spent >= most then return out end
local next = redis.call('ZRANGEBYSCORE', KEYS[3], '(' .. now, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
out[1] = -1
if next[2] then out[1] = math.max(1, math.ceil(tonumber(next[2]) - now)) end
return out
