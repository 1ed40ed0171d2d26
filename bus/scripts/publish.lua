-- Give an event to topics (or inboxes) of one partition: append once, say where each is listened to.
--
-- KEYS  1 body, 2 seen, 3 withdrawn; then per topic: log, meta, routes
-- ARGV  1 publication (inside of a JSON object), 2 escaped event reference, 3 ttl of body and seen (s),
--       4 history size (0 keeps none), 5 ttl of a log (s), 6 epoch to use where a topic has none,
--       7 ephemeral ("1": no offset, no history), 8 number of live nodes, then their ids, then the topic names
-- Returns  per topic {offset, epoch, node, node, …} (offset 0 when ephemeral); {} for all when withdrawn
-- Atomic because the offset, the log entry and `seen` must agree: a re-run after a crash anywhere between would
-- otherwise give one event two offsets.
local publication, ref = ARGV[1], ARGV[2]
local ttl, size, log_ttl, new_epoch = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6]
local ephemeral = ARGV[7] == '1'
local nodes = tonumber(ARGV[8])
local out = {}
if redis.call('EXISTS', KEYS[3]) == 1 then return out end

local live = {}
for i = 9, 8 + nodes do live[ARGV[i]] = true end

local function interested(routes)
  local found = {}
  for _, node in ipairs(redis.call('HKEYS', routes)) do
    if live[node] then
      found[#found + 1] = node
    else
      redis.call('HDEL', routes, node)
    end
  end
  return found
end

local appended = false
for i = 9 + nodes, #ARGV do
  local k = 4 + 3 * (i - 9 - nodes)
  local log, meta, routes, topic = KEYS[k], KEYS[k + 1], KEYS[k + 2], ARGV[i]
  local offset, epoch = 0, ''
  if not ephemeral then
    epoch = redis.call('HGET', meta, 'epoch')
    if not epoch then
      epoch = new_epoch
      redis.call('HSET', meta, 'epoch', epoch, 'top', 0)
    end
    offset = tonumber(redis.call('HGET', KEYS[2], topic) or 0)
    if offset == 0 then
      offset = redis.call('HINCRBY', meta, 'top', 1)
      if size > 0 then
        redis.call('XADD', log, 'MAXLEN', '~', size, offset .. '-0', 'b', ref)
        redis.call('EXPIRE', log, log_ttl)
        appended = true
      end
      redis.call('HSET', KEYS[2], topic, offset)
    end
    -- The position outlives the log, so that a client away for long learns that it missed something.
    redis.call('EXPIRE', meta, log_ttl + 2592000)
  end
  local answer = interested(routes)
  table.insert(answer, 1, epoch)
  table.insert(answer, 1, offset)
  out[#out + 1] = answer
end
if not ephemeral then redis.call('EXPIRE', KEYS[2], ttl) end
if appended then
  redis.call('HSET', KEYS[1], 'pub', publication)
  redis.call('EXPIRE', KEYS[1], ttl)
end
return out
