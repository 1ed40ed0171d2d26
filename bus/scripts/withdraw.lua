-- Withdraw an event in one partition: nothing of it is appended, sent or shown from now on.
--
-- KEYS  1 withdrawn, 2 body, 3 seen, 4 bulk, 5 timers, 6 counts
-- ARGV  1 event reference, 2 how long the mark stays where nothing of the event is known (ms)
-- Returns  {1 when this call withdrew it and 0 when another had, how many recipients it had been given to, until when
--          (Unix ms) it could still have gone out, 0 where that is not known}
-- Atomic because whoever was given it before is told by the walk that this begins, and nobody can be given it after: an
-- append between the two would be neither refused nor taken back.
local body = redis.call('HMGET', KEYS[2], 'x', 'at', 'first', 'e')
-- The mark outlives all that points to the event: read again after it, a body could come back to life.
local stays = math.max(tonumber(ARGV[2]), redis.call('PTTL', KEYS[2]), redis.call('PTTL', KEYS[1]))
local before = redis.call('EXISTS', KEYS[1])
redis.call('SET', KEYS[1], '1', 'PX', stays)

local given = redis.call('HLEN', KEYS[3]) - tonumber(redis.call('HGET', KEYS[6], 'topics') or 0)
if redis.call('EXISTS', KEYS[2]) == 1 then
  redis.call('HDEL', KEYS[2], 'pub', 'e', 'at', 'first')
  redis.call('HSET', KEYS[2], 'w', '1')
  -- By what is left of the content, a push that is out already can be replaced.
  local fine, event = pcall(cjson.decode, body[4] or '')
  if fine and type(event) == 'table' then
    local left = {}
    for _, name in ipairs({'id', 'source', 'type', 'time', 'collapse_key'}) do left[name] = event[name] end
    redis.call('HSET', KEYS[2], 'c', cjson.encode(left))
  end
end
if body[2] then
  -- Only so that its content goes at once: where very many are due in the same millisecond, it is refused when due.
  local member = 'event\n' .. body[3] .. '\n'
  for _, timer in ipairs(redis.call('ZRANGEBYSCORE', KEYS[5], body[2], body[2], 'LIMIT', 0, 20)) do
    if string.sub(timer, 1, #member) == member then redis.call('ZREM', KEYS[5], timer) end
  end
end
if before == 0 and redis.call('EXISTS', KEYS[3]) == 1 then
  redis.call('XADD', KEYS[4], '*', 'k', 'withdraw', 'e', ARGV[1])
end
return {1 - before, math.max(0, given), tonumber(body[1] or 0)}
