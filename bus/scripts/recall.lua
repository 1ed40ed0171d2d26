-- Take a withdrawn event back from people of a partition: it is no longer unread or put away, no step waits with it,
-- their trail says so, and their devices are told by a state publication in the inbox.
--
-- KEYS  1 told, 2 counts, 3 timers; then per person: inbox, meta, routes, unread, archived, trail
-- ARGV  1 escaped event reference, 2 ttl of told (s), 3 prefix of body keys, 4 the time now as publications say it,
--       5 ttl of inbox and trail (s), 6 inbox size, 7 trail size, 8 the channels of the event's ladder with spaces
--       between; then per person: inbox name, escaped user, offset of the event there (0: none), id of the state
--       publication
-- Returns  per person {offset, epoch, publication, node, …}, or {} where there is nothing to tell
-- Atomic because the offset, the entry and what is noted in `told` must agree: a walk that is repeated after a crash
-- must not tell anybody twice.
local told, counts, timers = KEYS[1], KEYS[2], KEYS[3]
local ref, bodies, ttl = ARGV[1], ARGV[3], tonumber(ARGV[5])
local vias = {}
for via in string.gmatch(ARGV[8], '%S+') do vias[#vias + 1] = via end

--#include position
local generation = generation_of(told)

local function count(field)
  redis.call('HINCRBY', counts, field, 1)
  if redis.call('TTL', counts) < 0 then redis.call('EXPIRE', counts, ARGV[2]) end
end

local function note(trail, kind, channel)
  local reason = kind == 'cancelled' and 'withdrawn' or ''
  redis.call('XADD', trail, 'MAXLEN', '~', ARGV[7], '*', 'e', ref, 'k', kind, 'c', channel, 'r', reason, 'n', '0')
end

local function cancel(user, trail)
  for i, via in ipairs(vias) do
    if redis.call('ZREM', timers, 'step\n' .. ref .. '\n' .. user .. '\n' .. (i - 1)) == 1 then
      note(trail, 'cancelled', via)
      count(via .. ':cancelled')
    end
  end
end

local function say(log, meta, unread, withdrawn, id)
  local top = tonumber(redis.call('HGET', meta, 'top') or 0)
  -- The position may lag behind its log: the top is the larger of the two.
  local last = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)[1]
  if last then top = math.max(top, tonumber(string.match(last[1], '^%d+'))) end
  local offset, seen = string.format('%.0f', top + 1), redis.call('HGET', meta, 'seen') or '0'
  local state = string.format('{"withdrawn":[%s],"unread_count":%d,"unseen_count":%d}', withdrawn,
    redis.call('ZCARD', unread), redis.call('ZCOUNT', unread, '(' .. seen, '+inf'))
  local publication = string.format('"data":{"id":"%s","type":"tocsin.state","data":%s,"created_at":"%s"}', id, state,
    ARGV[4])
  redis.call('XADD', log, 'MAXLEN', ARGV[6], offset .. '-0', 'b', 'tocsin/' .. id, 's', '1')
  redis.call('EXPIRE', log, ttl)
  redis.call('HSET', meta, 'top', offset)
  redis.call('EXPIRE', meta, ttl + 2592000)
  redis.call('HSET', bodies .. 'tocsin/' .. id, 'pub', publication, 'n', 1)
  redis.call('EXPIRE', bodies .. 'tocsin/' .. id, ttl)
  return offset
end

local function take_back(name, user, withdrawn, id, log, meta, routes, unread, archived, trail)
  local given, known = redis.call('HGET', told, name), redis.call('HMGET', meta, 'epoch', 'top', 'gen')
  local epoch = known[1] and epoch_in(generation, meta, log, known[1], known[2], known[3])
  if not given then
    given = '0'
    if withdrawn ~= '0' and epoch then
      -- As in inbox_change.lua.
      if redis.call('ZREM', unread, withdrawn) == 1 and redis.call('EXISTS', unread) == 0 then
        redis.call('HDEL', meta, 'kept')
      end
      redis.call('ZREM', archived, withdrawn)
      given = say(log, meta, unread, withdrawn, id)
    end
    redis.call('HSET', told, name, given)
    cancel(user, trail)
    note(trail, 'withdrawn', '')
    redis.call('EXPIRE', trail, ttl)
    count('withdrawn')
  end
  local publication = given ~= '0' and epoch and redis.call('HGET', bodies .. 'tocsin/' .. id, 'pub')
  if not publication then return {} end
  return {tonumber(given), epoch, publication, unpack(redis.call('HKEYS', routes))}
end

local out = {}
for i = 0, (#ARGV - 8) / 4 - 1 do
  local name, user, withdrawn, id = unpack(ARGV, 9 + 4 * i, 12 + 4 * i)
  local fine, answer = pcall(take_back, name, user, withdrawn, id, unpack(KEYS, 4 + 6 * i, 9 + 6 * i))
  if not fine then
    -- A string before Redis 7, a table since.
    local why = type(answer) == 'table' and answer.err or tostring(answer)
    -- Only a key of the wrong type is that person's own trouble; the rest (OOM, READONLY …) is everyone's.
    if not string.find(why, 'WRONGTYPE', 1, true) then return redis.error_reply(why) end
    answer = {}
  end
  out[#out + 1] = answer
end
redis.call('EXPIRE', told, ARGV[2])
return out
