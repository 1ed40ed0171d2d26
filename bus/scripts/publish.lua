-- Give an event to topics and inboxes of one partition: append once, set the first timer, say where each is listened to.
--
-- KEYS  1 body, 2 seen, 3 withdrawn, 4 lease, 5 timers, 6 counts; then the log of each topic (its meta and routes, and a
--       person's unread, archived, prefs and trail, lie beside it under the same hash tag); then the `seen` of earlier
--       events
-- ARGV  1 publication (inside of a JSON object), 2 escaped event reference, 3 ttl of logs (s), 4 ttl of the body (s),
--       5 ttl of seen (s), 6 history size (0 keeps none), 7 epoch to use where a topic has none,
--       8 kind: "notification", "message" (a client's own: never unread), "state" (of the system: no notification at
--       all) or "fleeting" (for who listens now: no offset, no history),
--       9 what of the person decides whether they want it live: "" nothing, "on" yes unless turned off, "off" no unless
--       turned on, 10 category, 11 event without its audience ("" where nobody needs it), 12 ladder ("" none),
--       13 when its time is over (Unix ms), 14 index of the first step that takes a timer ("" none), 15 its wait (ms),
--       16 most silence of somebody who is only about to come back (ms), 17 generation of the partition that this is
--       meant for ("" any), 18 the nodes that live, each on a line, with one before the first (one argument, or each
--       event would cost more with every node), 19 how many topics there are, then their names; then pairs: number of a
--       topic, number of the earlier event (1, 2, …) whose `seen` must hold it already
-- Returns  {worker, {offset, epoch, followed, node, …} for each topic}. The worker is who has the partition, when a timer
--          was set that is due before all others, else "". Offset 0: no place in history; for a notification that means
--          that the person does not want it live. Followed is 1 where somebody follows the topic durably. {-1, error} for
--          a topic whose keys cannot be used, which nothing was done to. {} when the event is withdrawn. The error
--          BEHIND, with nothing done, when an earlier event of the same batch did not get through: the order of a topic
--          is the order of its events. The error STALE, with nothing done, in another generation than the one meant:
--          something that came before may be lost, and has to be given again first.
-- Atomic because the offset, the log entry, the timer and `seen` must agree: a re-run after a crash anywhere between
-- would otherwise give one event two offsets, or nobody would follow it.
--#include position
local body, seen, timers, counts = KEYS[1], KEYS[2], KEYS[5], KEYS[6]
local publication, ref, ttl = ARGV[1], ARGV[2], tonumber(ARGV[3])
local size, new_epoch, kind, wanted = tonumber(ARGV[6]), ARGV[7], ARGV[8], ARGV[9]
local fleeting, index, wait = kind == 'fleeting', ARGV[14], tonumber(ARGV[15])
local topics = tonumber(ARGV[19])
local generation = generation_of(timers)
if ARGV[17] ~= '' and ARGV[17] ~= generation then return redis.error_reply('STALE another generation') end
if redis.call('EXISTS', KEYS[3]) == 1 then return {} end

local names = {unpack(ARGV, 20, 19 + topics)}
for i = 20 + topics, #ARGV, 2 do
  if redis.call('HEXISTS', KEYS[6 + topics + ARGV[i + 1]], names[tonumber(ARGV[i])]) == 0 then
    return redis.error_reply('BEHIND an earlier event of the batch is not published')
  end
end

-- Read before anything is written, so that a key of another type refuses the whole.
local before = redis.call('HMGET', seen, unpack(names))
local kept = redis.call('HMGET', body, 'pub', 'e', 'l', 'x')
local first = redis.call('ZRANGE', timers, 0, 0, 'WITHSCORES')[2]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- Sent again under its id with another ladder, or with a default that was changed meanwhile: the ladder that it came
-- with first stands, for by its steps the timers are numbered that run.
if index ~= '' and kept[3] and kept[3] ~= ARGV[12] then
  index, wait = '', 0
  for i, step in ipairs(cjson.decode(kept[3])) do
    wait = wait + step.after * 1000
    if step.via ~= 'live' then
      index = i - 1
      break
    end
  end
end

local due, given, topics_given, muted = {}, {}, 0, 0
local stored = false
local now_text, later_text = string.format('%.0f', now), string.format('%.0f', now + wait)
local user_at = #timers - 6 + #'user:' + 1

-- Before anything of a recipient: a Redis that is full refuses only the first write of a script, and so the whole.
local function store()
  if stored then return end
  stored = true
  -- What it said first is what it says: others have that already.
  local fields = {'x', ARGV[13]}
  if tonumber(kept[4] or 0) > tonumber(ARGV[13]) then fields[2] = kept[4] end
  local function add(...)
    for _, part in ipairs({...}) do fields[#fields + 1] = part end
  end
  if not kept[1] then add('pub', publication) end
  if ARGV[11] ~= '' and not kept[2] then add('e', ARGV[11]) end
  if ARGV[11] ~= '' and not kept[3] then add('l', ARGV[12], 'g', ARGV[10]) end
  redis.call('HSET', body, unpack(fields))
  -- Another topic of this event may keep it longer; EXPIRE GT came with 7.0 only.
  if redis.call('TTL', body) < tonumber(ARGV[4]) then redis.call('EXPIRE', body, ARGV[4]) end
end

local function add(log, offset)
  if kind == 'state' then return redis.pcall('XADD', log, 'MAXLEN', size, offset .. '-0', 'b', ref, 's', '1') end
  return redis.pcall('XADD', log, 'MAXLEN', size, offset .. '-0', 'b', ref)
end

-- The offset as text, which is what everything here takes.
local function append(log, unread, offset)
  store()
  local text = string.format('%.0f', offset)
  if unread then
    -- First, for it finds out whether the key can be used at all. What the log no longer holds is no longer unread.
    redis.call('ZADD', unread, text, text)
    if offset > size then redis.call('ZREMRANGEBYSCORE', unread, '-inf', string.format('%.0f', offset - size)) end
  end
  local added = add(log, text)
  if type(added) == 'table' and string.find(added.err, 'equal or smaller') then
    -- The position lags behind its log: the top is the larger of the two.
    local last = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)[1]
    if unread then redis.call('ZREM', unread, text) end
    text = string.format('%.0f', tonumber(string.match(last[1], '^%d+')) + 1)
    added = add(log, text)
    if unread and type(added) ~= 'table' then redis.call('ZADD', unread, text, text) end
  elseif type(added) == 'table' and unread then
    redis.call('ZREM', unread, text)
  end
  if type(added) == 'table' then error(added.err, 0) end
  return text
end

local function wants(base)
  if wanted == '' then return true end
  local chosen = redis.call('HMGET', base .. 'prefs', 'live:*', 'live:' .. ARGV[10])
  if chosen[1] == '0' or chosen[2] == '0' then return false end
  return wanted == 'on' or chosen[2] == '1'
end

-- Whether somebody has no connection, nor had one a moment ago.
local function away(routes, last)
  for i = 1, #routes, 2 do
    if string.find(ARGV[18], '\n' .. routes[i] .. '\n', 1, true) then return false end
    last = math.max(last, tonumber(routes[i + 1]) or 0)
  end
  return now - last > tonumber(ARGV[16])
end

local function follow(base, routes, last)
  local from = now_text
  if not away(routes, last) then from = later_text end
  due[#due + 1] = from
  due[#due + 1] = 'step\n' .. ref .. '\n' .. string.sub(base, user_at, -2) .. '\n' .. index
end

local function note(base, reason)
  redis.call('XADD', base .. 'trail', 'MAXLEN', '~', 4000, '*',
    'e', ref, 'k', 'skipped', 'c', 'live', 'r', reason, 'n', '0')
  redis.call('EXPIRE', base .. 'trail', ttl)
end

local function keep(name, offset)
  given[#given + 1] = name
  given[#given + 1] = offset
end

-- Offset (text) and epoch, appending unless it was given before. `known`: epoch, top, followed, kept, generation.
local function place(n, log, base, meta, inbox, known)
  local epoch, top, earlier = known[1], known[2], before[n]
  if not epoch then
    epoch, top, earlier = new_epoch, 0, false
    begin_epoch(generation, meta, epoch)
    -- A log without a position is from before the position was lost: its offsets mean nothing now.
    redis.call('DEL', log)
    if inbox then redis.call('DEL', base .. 'unread', base .. 'archived') end
  else
    epoch = epoch_in(generation, meta, log, epoch, top, known[5])
  end
  if earlier then return earlier, epoch, false end
  local offset = string.format('%.0f', (top or 0) + 1)
  local unread = inbox and kind == 'notification' and base .. 'unread'
  if size > 0 then offset = append(log, unread, tonumber(offset)) end
  if now - (tonumber(known[4]) or 0) < ttl * 1000 / 32 then
    redis.call('HSET', meta, 'top', offset)
  else
    -- Three commands more, so not each time: what is kept lives at least 31 of 32 parts of its time after its last use.
    redis.call('HSET', meta, 'top', offset, 'kept', now_text)
    if size > 0 then redis.call('EXPIRE', log, ttl) end
    if unread then redis.call('EXPIRE', unread, ttl) end
    -- The position outlives the log, so that a client away for long learns that it missed something; and that somebody
    -- follows a topic durably must not be forgotten.
    if inbox or not known[3] then redis.call('EXPIRE', meta, ttl + 2592000) end
  end
  return offset, epoch, true
end

local function give(n)
  local log = KEYS[6 + n]
  local inbox = string.sub(log, -6) == ':inbox'
  local base = string.sub(log, 1, inbox and -6 or -4)
  local meta = base .. 'meta'
  local known = redis.call('HMGET', meta, 'epoch', 'top', inbox and 'last_seen' or 'followed', 'kept', 'gen')
  if inbox and (before[n] == '0' or (not before[n] and not wants(base))) then
    if not before[n] and not fleeting then
      note(base, 'preference')
      muted = muted + 1
      if index ~= '' then
        store()
        follow(base, redis.call('HGETALL', base .. 'routes'), tonumber(known[3]) or 0)
      end
      keep(names[n], '0')
    end
    return {0, '', 0}
  end
  local routes = redis.call('HGETALL', base .. 'routes')
  local offset, epoch, new = '0', '', false
  if not fleeting then offset, epoch, new = place(n, log, base, meta, inbox, known) end
  -- Reached once more: by another topic, or by a repeat of the event. Whoever asks why nothing came of it is told.
  if inbox and before[n] and not new and kind == 'notification' then note(base, 'duplicate') end
  if new then
    keep(names[n], offset)
    if not inbox then
      topics_given = topics_given + 1
    elseif index ~= '' then
      store()
      follow(base, routes, tonumber(known[3]) or 0)
    end
  end
  local answer = {tonumber(offset), epoch, not inbox and tonumber(known[3]) or 0}
  for i = 1, #routes, 2 do answer[#answer + 1] = routes[i] end
  return answer
end

local out = {''}
for n = 1, topics do
  local fine, answer = pcall(give, n)
  if not fine then
    -- A string before Redis 7, a table since.
    local why = type(answer) == 'table' and answer.err or tostring(answer)
    -- Only a key of the wrong type is the topic's own trouble; the rest (OOM, READONLY …) is everyone's.
    if not string.find(why, 'WRONGTYPE', 1, true) then return redis.error_reply(why) end
    answer = {-1, 'WRONGTYPE'}
  end
  out[n + 1] = answer
end
if fleeting then return out end

if #given > 0 then redis.call('HSET', seen, unpack(given)) end
-- By the number of those who have it, a body is known that was one person's alone and goes with them.
if stored then redis.call('HINCRBY', body, 'n', #given / 2) end
redis.call('EXPIRE', seen, ARGV[5])
if topics_given + muted > 0 then
  if topics_given > 0 then redis.call('HINCRBY', counts, 'topics', topics_given) end
  if muted > 0 then redis.call('HINCRBY', counts, 'live:skipped', muted) end
  local keep_counts = math.max(tonumber(ARGV[4]), tonumber(ARGV[5]))
  if redis.call('TTL', counts) < keep_counts then redis.call('EXPIRE', counts, keep_counts) end
end
if #due > 0 then
  redis.call('ZADD', timers, 'NX', unpack(due))
  local now_first = redis.call('ZRANGE', timers, 0, 0, 'WITHSCORES')[2]
  if not first or tonumber(now_first) < tonumber(first) then
    out[1] = string.match(redis.call('GET', KEYS[4]) or '', '^(.*) %d+$') or ''
  end
end
return out
