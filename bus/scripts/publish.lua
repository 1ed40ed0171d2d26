-- Give an event to topics (or inboxes) of one partition: append once, say where each is listened to.
--
-- KEYS  1 body, 2 seen, 3 withdrawn; then per topic: log, meta, routes; then the `seen` of earlier events
-- ARGV  1 publication (inside of a JSON object), 2 escaped event reference, 3 ttl of body and log (s),
--       4 ttl of seen (s), 5 history size (0 keeps none), 6 epoch to use where a topic has none,
--       7 ephemeral ("1": no offset, no history); then per topic: its name, and which of the `seen` of earlier events
--       must hold it already (1, 2, …; 0: none)
-- Returns  per topic {offset, epoch, node, node, …}; offset 0 when ephemeral; {-1, error} for a topic whose keys cannot
--          be used, which nothing was done to. {} when the event is withdrawn. The error BEHIND, with nothing done, when
--          an earlier event of the same batch did not get through: the order of a topic is the order of its events.
-- Atomic because the offset, the log entry and `seen` must agree: a re-run after a crash anywhere between would
-- otherwise give one event two offsets.
local body, seen = KEYS[1], KEYS[2]
local publication, ref, ttl, seen_ttl = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local size, new_epoch, ephemeral = tonumber(ARGV[5]), ARGV[6], ARGV[7] == '1'
local topics = (#ARGV - 7) / 2
if redis.call('EXISTS', KEYS[3]) == 1 then return {} end

for i = 0, topics - 1 do
  local earlier = tonumber(ARGV[9 + 2 * i])
  if earlier > 0 and redis.call('HEXISTS', KEYS[3 + 3 * topics + earlier], ARGV[8 + 2 * i]) == 0 then
    return redis.error_reply('BEHIND an earlier event of the batch is not published')
  end
end

local stored = false
local function append(log, offset)
  if not stored then
    redis.call('HSET', body, 'pub', publication)
    -- Another topic of this event may keep it longer; EXPIRE GT came with 7.0 only.
    if redis.call('TTL', body) < ttl then redis.call('EXPIRE', body, ttl) end
    stored = true
  end
  return redis.pcall('XADD', log, 'MAXLEN', size, string.format('%.0f-0', offset), 'b', ref)
end

local function place(topic, log, meta)
  local epoch = redis.call('HGET', meta, 'epoch')
  if not epoch then
    -- A log without a position is from before the position was lost: its offsets mean nothing now.
    redis.call('DEL', log)
    epoch = new_epoch
    redis.call('HSET', meta, 'epoch', epoch, 'top', 0)
    redis.call('HDEL', seen, topic)
  end
  local given = redis.call('HGET', seen, topic)
  if given then return tonumber(given), epoch end
  local offset = tonumber(redis.call('HGET', meta, 'top') or 0) + 1
  if size > 0 then
    local added = append(log, offset)
    if type(added) == 'table' and string.find(added.err, 'equal or smaller') then
      -- The position lags behind its log: the top is the larger of the two.
      local last = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)[1]
      offset = tonumber(string.match(last[1], '^%d+')) + 1
      added = append(log, offset)
    end
    if type(added) == 'table' then error(added.err, 0) end
    redis.call('EXPIRE', log, ttl)
  end
  redis.call('HSET', meta, 'top', string.format('%.0f', offset))
  redis.call('HSET', seen, topic, string.format('%.0f', offset))
  return offset, epoch
end

local function give(topic, log, meta, routes)
  local answer = redis.call('HKEYS', routes)
  local offset, epoch = 0, ''
  if not ephemeral then
    offset, epoch = place(topic, log, meta)
    -- The position outlives the log, so that a client away for long learns that it missed something.
    redis.call('EXPIRE', meta, ttl + 2592000)
  end
  table.insert(answer, 1, epoch)
  table.insert(answer, 1, offset)
  return answer
end

local out = {}
for i = 0, topics - 1 do
  local k = 4 + 3 * i
  local fine, answer = pcall(give, ARGV[8 + 2 * i], KEYS[k], KEYS[k + 1], KEYS[k + 2])
  if not fine then
    -- A string before Redis 7, a table since.
    local why = type(answer) == 'table' and answer.err or tostring(answer)
    -- Only a key of the wrong type is the topic's own trouble; the rest (OOM, READONLY …) is everyone's.
    if not string.find(why, 'WRONGTYPE', 1, true) then return redis.error_reply(why) end
    answer = {-1, 'WRONGTYPE'}
  end
  out[#out + 1] = answer
end
if not ephemeral then redis.call('EXPIRE', seen, seen_ttl) end
return out
