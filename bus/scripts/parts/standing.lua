-- Where a topic stands for those who read its log (needs `position`). One that has no position begins an epoch of that
-- name; a log without a position is from before the position was lost: its offsets mean nothing now.
local function stand(log, meta, name, ttl)
  local generation = generation_of(meta)
  local epoch, top, gen, followed = unpack(redis.call('HMGET', meta, 'epoch', 'top', 'gen', 'followed'))
  if not epoch then
    redis.call('DEL', log)
    local inbox = string.match(log, '^(.*:)inbox$')
    if inbox then redis.call('DEL', inbox .. 'unread', inbox .. 'archived') end
    epoch, top = name, 0
    begin_epoch(generation, meta, epoch)
  else
    epoch = epoch_in(generation, meta, log, epoch, top, gen)
  end
  -- That somebody follows it durably must not be forgotten.
  if not followed then redis.call('EXPIRE', meta, ttl) end
  return generation, epoch, top
end

-- The position, what was read, and of former epochs what is to be said.
local function told(generation, meta, epoch, top, found)
  if generation == '1' then return {epoch, tonumber(top), found} end
  return {epoch, tonumber(redis.call('HGET', meta, 'top')), found, redis.call('HGET', meta, 'survived') or ''}
end
